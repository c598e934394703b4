# gnuplot 'loss-by-ratio.gp': draws loss-by-ratio from loss-by-ratio.csv.
# gnuplot -e "formats='pdf'" 'loss-by-ratio.gp': other formats, of svg png pdf tex.
# softmax-s0, reference, f32, Intel(R) Xeon(R) Processor, 2 cores. Each point: the mean over a range of positions, drawn at its middle, with its 95 % interval.
FILE = 'loss-by-ratio.csv'  # columns: panel series quantity label kind x x_label y low high n
if (!exists('formats')) formats = 'svg'

do for [format in formats] {
tex = format eq 'tex'
paper = tex || format eq 'pdf'  # without a title: the caption says it
key_spacing = 1.15; key_width = 0
if (format eq 'svg') { key_spacing = 0.88; key_width = -4.32 }
if (format eq 'svg') { set terminal svg size 672,456 font 'sans-serif,12.7' background '#ffffff' linewidth 1.2; set output 'loss-by-ratio.svg' }
if (format eq 'png') { set terminal pngcairo size 1400,949 font 'sans,9.5' fontscale 2.083 linewidth 2.4 pointscale 2.2; set output 'loss-by-ratio.png' }
if (format eq 'pdf') { set terminal pdfcairo size 7in,4.747in font 'sans,9.5' linewidth 1; set output 'loss-by-ratio.pdf' }
if (format eq 'tex') { set terminal cairolatex pdf input size 7in,4.747in font ',' . '9.5' linewidth 1; set output 'loss-by-ratio-tex.tex' }

# Words.
title = 'Loss by position'
subtitle = 'unseen.json, windows of 2k tokens'
x_label = 'position in the window'
y1_label = 'loss (nats a token)'
l1 = 'weights softmax-s0'
l2 = 'weights 3-1-s0'
l3 = 'weights 7-1-s0'
l4 = 'weights linear-s0'
l5 = 'trained window'

# Lines: from 1 measured, from 101 not measured (hollow, dashed), from 201 intervals.
set style line 1 linecolor rgb '#0072B2' linewidth 1.6 pointtype 7 pointsize 0.65
set style line 101 linecolor rgb '#0072B2' linewidth 1.28 dashtype (6,4) pointtype 6 pointsize 0.747
set style line 201 linecolor rgb '#0072B2' linewidth 0.96 pointtype 0
set style line 2 linecolor rgb '#D55E00' linewidth 1.6 pointtype 5 pointsize 0.65
set style line 102 linecolor rgb '#D55E00' linewidth 1.28 dashtype (6,4) pointtype 4 pointsize 0.747
set style line 202 linecolor rgb '#D55E00' linewidth 0.96 pointtype 0
set style line 3 linecolor rgb '#009E73' linewidth 1.6 pointtype 9 pointsize 0.65
set style line 103 linecolor rgb '#009E73' linewidth 1.28 dashtype (6,4) pointtype 8 pointsize 0.747
set style line 203 linecolor rgb '#009E73' linewidth 0.96 pointtype 0
set style line 4 linecolor rgb '#CC79A7' linewidth 1.6 pointtype 13 pointsize 0.65
set style line 104 linecolor rgb '#CC79A7' linewidth 1.28 dashtype (6,4) pointtype 12 pointsize 0.747
set style line 204 linecolor rgb '#CC79A7' linewidth 0.96 pointtype 0
set style line 5 linecolor rgb '#E69F00' linewidth 1.6 pointtype 11 pointsize 0.65
set style line 105 linecolor rgb '#E69F00' linewidth 1.28 dashtype (6,4) pointtype 10 pointsize 0.747
set style line 205 linecolor rgb '#E69F00' linewidth 0.96 pointtype 0
set style line 6 linecolor rgb '#56B4E9' linewidth 1.6 pointtype 15 pointsize 0.65
set style line 106 linecolor rgb '#56B4E9' linewidth 1.28 dashtype (6,4) pointtype 14 pointsize 0.747
set style line 206 linecolor rgb '#56B4E9' linewidth 0.96 pointtype 0
set style line 7 linecolor rgb '#000000' linewidth 1.6 pointtype 7 pointsize 0.65
set style line 107 linecolor rgb '#000000' linewidth 1.28 dashtype (6,4) pointtype 6 pointsize 0.747
set style line 207 linecolor rgb '#000000' linewidth 0.96 pointtype 0
set style line 8 linecolor rgb '#7F7F7F' linewidth 1.6 pointtype 5 pointsize 0.65
set style line 108 linecolor rgb '#7F7F7F' linewidth 1.28 dashtype (6,4) pointtype 4 pointsize 0.747
set style line 208 linecolor rgb '#7F7F7F' linewidth 0.96 pointtype 0
set style line 9 linecolor rgb '#0072B2' linewidth 1.6 pointtype 13 pointsize 0.65
set style line 109 linecolor rgb '#0072B2' linewidth 1.28 dashtype (6,4) pointtype 12 pointsize 0.747
set style line 209 linecolor rgb '#0072B2' linewidth 0.96 pointtype 0
set style line 10 linecolor rgb '#D55E00' linewidth 1.6 pointtype 11 pointsize 0.65
set style line 110 linecolor rgb '#D55E00' linewidth 1.28 dashtype (6,4) pointtype 10 pointsize 0.747
set style line 210 linecolor rgb '#D55E00' linewidth 0.96 pointtype 0
set style line 11 linecolor rgb '#009E73' linewidth 1.6 pointtype 15 pointsize 0.65
set style line 111 linecolor rgb '#009E73' linewidth 1.28 dashtype (6,4) pointtype 14 pointsize 0.747
set style line 211 linecolor rgb '#009E73' linewidth 0.96 pointtype 0
set style line 12 linecolor rgb '#CC79A7' linewidth 1.6 pointtype 7 pointsize 0.65
set style line 112 linecolor rgb '#CC79A7' linewidth 1.28 dashtype (6,4) pointtype 6 pointsize 0.747
set style line 212 linecolor rgb '#CC79A7' linewidth 0.96 pointtype 0
set style line 13 linecolor rgb '#E69F00' linewidth 1.6 pointtype 5 pointsize 0.65
set style line 113 linecolor rgb '#E69F00' linewidth 1.28 dashtype (6,4) pointtype 4 pointsize 0.747
set style line 213 linecolor rgb '#E69F00' linewidth 0.96 pointtype 0
set style line 14 linecolor rgb '#56B4E9' linewidth 1.6 pointtype 9 pointsize 0.65
set style line 114 linecolor rgb '#56B4E9' linewidth 1.28 dashtype (6,4) pointtype 8 pointsize 0.747
set style line 214 linecolor rgb '#56B4E9' linewidth 0.96 pointtype 0
set style line 15 linecolor rgb '#000000' linewidth 1.6 pointtype 13 pointsize 0.65
set style line 115 linecolor rgb '#000000' linewidth 1.28 dashtype (6,4) pointtype 12 pointsize 0.747
set style line 215 linecolor rgb '#000000' linewidth 0.96 pointtype 0
set style line 16 linecolor rgb '#7F7F7F' linewidth 1.6 pointtype 11 pointsize 0.65
set style line 116 linecolor rgb '#7F7F7F' linewidth 1.28 dashtype (6,4) pointtype 10 pointsize 0.747
set style line 216 linecolor rgb '#7F7F7F' linewidth 0.96 pointtype 0
set style line 20 linecolor rgb '#555555' linewidth 0.96 dashtype (6,4) pointtype 6 pointsize 0.65
set style line 21 linecolor rgb '#555555' linewidth 1.6
set style line 22 linecolor rgb '#777777' linewidth 0.96 dashtype (2,3)
set style line 23 linecolor rgb '#777777' linewidth 0.96
set style line 30 linecolor rgb '#000000' linewidth 1.6 pointtype 3 pointsize 1.3
set style line 31 linecolor rgb '#000000' linewidth 1.6 pointtype 2 pointsize 1.3
set style line 32 linecolor rgb '#000000' linewidth 1.6 pointtype 1 pointsize 1.3

set datafile separator ','
set datafile columnheaders
set datafile missing NaN
set termoption noenhanced
set encoding utf8
set border 3 linecolor rgb '#444444'
set tics scale 0.6
set grid xtics ytics linecolor rgb '#e4e4e4' linewidth 0.6 linetype 1
set errorbars 0.6
unset key
set lmargin at screen 0.07087
set rmargin at screen 0.9683
set logscale x
set xtics nomirror ('64' 64, '128' 128, '256' 256, '512' 512, '1k' 1024)
set xrange [54.151063773418315:1800.0108069501548]
set arrow from first 256, graph 0 to first 256, graph 1 nohead linestyle 22 back

set multiplot

# Panel 0: loss
set bmargin at screen 0.1915
set tmargin at screen 0.8699
set label 1 y1_label at screen 0.02205, graph 0.5 center rotate
unset logscale y
set ytics nomirror ('0' -0, '1' 1, '2' 2, '3' 3, '4' 4)
set yrange [0:4.460433876333153]
if (!paper) {
  set label 2 title at graph 0.5, graph 1 center offset 0,2.2
  set label 3 subtitle at graph 0.5, graph 1 center offset 0,0.9 textcolor rgb '#555555'
}
set label 4 x_label at graph 0.5, screen 0.1138 center
plot FILE using 6:($1 == 0 && $2 == 0 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 1 notitle, \
     FILE using 6:($1 == 0 && $2 == 0 ? $8 : NaN):9:10 with yerrorbars linestyle 201 notitle, \
     FILE using 6:($1 == 0 && $2 == 0 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 1 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 2 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 ? $8 : NaN):9:10 with yerrorbars linestyle 202 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 2 notitle, \
     FILE using 6:($1 == 0 && $2 == 2 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 3 notitle, \
     FILE using 6:($1 == 0 && $2 == 2 ? $8 : NaN):9:10 with yerrorbars linestyle 203 notitle, \
     FILE using 6:($1 == 0 && $2 == 2 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 3 notitle, \
     FILE using 6:($1 == 0 && $2 == 3 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 4 notitle, \
     FILE using 6:($1 == 0 && $2 == 3 ? $8 : NaN):9:10 with yerrorbars linestyle 204 notitle, \
     FILE using 6:($1 == 0 && $2 == 3 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 4 notitle

# Legend
unset border
unset tics
unset grid
unset label
unset arrow
unset logscale
set margins at screen 0, screen 1, screen 0, screen 1
set xrange [0:1]
set yrange [0:1]
set key at screen 0.5, screen 0.08673 center top vertical Left reverse samplen 2.5 spacing key_spacing width key_width maxrows 2
plot NaN notitle, \
     keyentry with linespoints linestyle 1 title l1, \
     keyentry with linespoints linestyle 2 title l2, \
     keyentry with linespoints linestyle 3 title l3, \
     keyentry with linespoints linestyle 4 title l4, \
     keyentry with lines linestyle 22 title l5
unset multiplot
unset output
reset
}
