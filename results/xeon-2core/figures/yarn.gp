# gnuplot 'yarn.gp': draws yarn from yarn.csv.
# gnuplot -e "formats='pdf'" 'yarn.gp': other formats, of svg png pdf tex.
# ring-nano-linear, f32, Intel(R) Xeon(R) Processor, 2 cores, reference, batch 1, commit 8072ebe, n = 3 to 6. Bars: 95 % intervals. Hollow points and dashed lines: estimated, not run whole.
FILE = 'yarn.csv'  # columns: panel series quantity label kind x x_label y low high n
if (!exists('formats')) formats = 'svg'

do for [format in formats] {
tex = format eq 'tex'
paper = tex || format eq 'pdf'  # without a title: the caption says it
key_spacing = 1.15; key_width = 0
if (format eq 'svg') { key_spacing = 0.88; key_width = -7.44 }
if (format eq 'svg') { set terminal svg size 672,522 font 'sans-serif,12.7' background '#ffffff' linewidth 1.2; set output 'yarn.svg' }
if (format eq 'png') { set terminal pngcairo size 1400,1087 font 'sans,9.5' fontscale 2.083 linewidth 2.4 pointscale 2.2; set output 'yarn.png' }
if (format eq 'pdf') { set terminal pdfcairo size 7in,5.433in font 'sans,9.5' linewidth 1; set output 'yarn.pdf' }
if (format eq 'tex') { set terminal cairolatex pdf input size 7in,5.433in font ',' . '9.5' linewidth 1; set output 'yarn-tex.tex' }

# Words.
title = 'Time per token within and beyond the trained window'
subtitle = 'ring-nano-linear, f32, Intel(R) Xeon(R) Processor, 2 cores'
x_label = 'prompt (tokens)'
y1_label = 'time per token'
l1 = '3:1 hybrid, no YaRN, 8 layers'
l2 = 'softmax, no YaRN, 8 layers'
l3 = '3:1 hybrid, YaRN x4, 8 layers'
l4 = 'softmax, YaRN x4, 8 layers'
l5 = 'softmax, no YaRN, 16 layers'
l6 = '1:1 hybrid, no YaRN, 16 layers'
l7 = '3:1 hybrid, no YaRN, 16 layers'
l8 = '7:1 hybrid, no YaRN, 16 layers'
l9 = '15:1 hybrid, no YaRN, 16 layers'
l10 = 'linear, no YaRN, 16 layers'
l11 = 'estimated'
l12 = 'trained window 128k, 512k'

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
set lmargin at screen 0.1342
set rmargin at screen 0.9683
set logscale x
set xtics nomirror ('256' 256, '512' 512, '1k' 1024, '2k' 2048, '4k' 4096, '8k' 8192, '16k' 16384, '32k' 32768, '64k' 65536, '128k' 131072, '256k' 262144, '512k' 524288)
set xrange [174.85315286456262:767602.5613559401]
set arrow from first 131072, graph 0 to first 131072, graph 1 nohead linestyle 22 back
set arrow from first 524288, graph 0 to first 524288, graph 1 nohead linestyle 22 back

set multiplot

# Panel 0: s_per_token
set bmargin at screen 0.2936
set tmargin at screen 0.8863
set label 1 y1_label at screen 0.02205, graph 0.5 center rotate
set logscale y
set ytics nomirror ('100 µs' 1e-04, '300 µs' 0.00030000000000000003, '1 ms' 0.001, '3 ms' 0.003, '10 ms' 0.01)
set yrange [6.844864482410383e-05:0.022916879841826682]
if (!paper) {
  set label 2 title at graph 0.5, graph 1 center offset 0,2.2
  set label 3 subtitle at graph 0.5, graph 1 center offset 0,0.9 textcolor rgb '#555555'
}
set label 4 x_label at graph 0.5, screen 0.2257 center
plot FILE using 6:($1 == 0 && $2 == 0 ? $8 : NaN) with lines linestyle 101 notitle, \
     FILE using 6:($1 == 0 && $2 == 0 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 1 notitle, \
     FILE using 6:($1 == 0 && $2 == 0 ? $8 : NaN):9:10 with yerrorbars linestyle 201 notitle, \
     FILE using 6:($1 == 0 && $2 == 0 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 101 notitle, \
     FILE using 6:($1 == 0 && $2 == 0 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 1 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 ? $8 : NaN) with lines linestyle 102 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 2 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 ? $8 : NaN):9:10 with yerrorbars linestyle 202 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 102 notitle, \
     FILE using 6:($1 == 0 && $2 == 1 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 2 notitle, \
     FILE using 6:($1 == 0 && $2 == 2 ? $8 : NaN) with lines linestyle 103 notitle, \
     FILE using 6:($1 == 0 && $2 == 2 ? $8 : NaN):9:10 with yerrorbars linestyle 203 notitle, \
     FILE using 6:($1 == 0 && $2 == 2 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 103 notitle, \
     FILE using 6:($1 == 0 && $2 == 3 ? $8 : NaN) with lines linestyle 104 notitle, \
     FILE using 6:($1 == 0 && $2 == 3 ? $8 : NaN):9:10 with yerrorbars linestyle 204 notitle, \
     FILE using 6:($1 == 0 && $2 == 3 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 104 notitle, \
     FILE using 6:($1 == 0 && $2 == 4 ? $8 : NaN) with lines linestyle 105 notitle, \
     FILE using 6:($1 == 0 && $2 == 4 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 5 notitle, \
     FILE using 6:($1 == 0 && $2 == 4 ? $8 : NaN):9:10 with yerrorbars linestyle 205 notitle, \
     FILE using 6:($1 == 0 && $2 == 4 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 105 notitle, \
     FILE using 6:($1 == 0 && $2 == 4 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 5 notitle, \
     FILE using 6:($1 == 0 && $2 == 5 ? $8 : NaN) with lines linestyle 106 notitle, \
     FILE using 6:($1 == 0 && $2 == 5 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 6 notitle, \
     FILE using 6:($1 == 0 && $2 == 5 ? $8 : NaN):9:10 with yerrorbars linestyle 206 notitle, \
     FILE using 6:($1 == 0 && $2 == 5 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 106 notitle, \
     FILE using 6:($1 == 0 && $2 == 5 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 6 notitle, \
     FILE using 6:($1 == 0 && $2 == 6 ? $8 : NaN) with lines linestyle 107 notitle, \
     FILE using 6:($1 == 0 && $2 == 6 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 7 notitle, \
     FILE using 6:($1 == 0 && $2 == 6 ? $8 : NaN):9:10 with yerrorbars linestyle 207 notitle, \
     FILE using 6:($1 == 0 && $2 == 6 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 107 notitle, \
     FILE using 6:($1 == 0 && $2 == 6 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 7 notitle, \
     FILE using 6:($1 == 0 && $2 == 7 ? $8 : NaN) with lines linestyle 108 notitle, \
     FILE using 6:($1 == 0 && $2 == 7 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 8 notitle, \
     FILE using 6:($1 == 0 && $2 == 7 ? $8 : NaN):9:10 with yerrorbars linestyle 208 notitle, \
     FILE using 6:($1 == 0 && $2 == 7 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 108 notitle, \
     FILE using 6:($1 == 0 && $2 == 7 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 8 notitle, \
     FILE using 6:($1 == 0 && $2 == 8 ? $8 : NaN) with lines linestyle 109 notitle, \
     FILE using 6:($1 == 0 && $2 == 8 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 9 notitle, \
     FILE using 6:($1 == 0 && $2 == 8 ? $8 : NaN):9:10 with yerrorbars linestyle 209 notitle, \
     FILE using 6:($1 == 0 && $2 == 8 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 109 notitle, \
     FILE using 6:($1 == 0 && $2 == 8 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 9 notitle, \
     FILE using 6:($1 == 0 && $2 == 9 ? $8 : NaN) with lines linestyle 110 notitle, \
     FILE using 6:($1 == 0 && $2 == 9 && strcol(5) eq 'measured' ? $8 : NaN) with lines linestyle 10 notitle, \
     FILE using 6:($1 == 0 && $2 == 9 ? $8 : NaN):9:10 with yerrorbars linestyle 210 notitle, \
     FILE using 6:($1 == 0 && $2 == 9 && strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 110 notitle, \
     FILE using 6:($1 == 0 && $2 == 9 && strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 10 notitle

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
set key at screen 0.5, screen 0.2021 center top vertical Left reverse samplen 2.5 spacing key_spacing width key_width maxrows 6
plot NaN notitle, \
     keyentry with linespoints linestyle 1 title l1, \
     keyentry with linespoints linestyle 2 title l2, \
     keyentry with linespoints linestyle 103 dashtype 1 title l3, \
     keyentry with linespoints linestyle 104 dashtype 1 title l4, \
     keyentry with linespoints linestyle 5 title l5, \
     keyentry with linespoints linestyle 6 title l6, \
     keyentry with linespoints linestyle 7 title l7, \
     keyentry with linespoints linestyle 8 title l8, \
     keyentry with linespoints linestyle 9 title l9, \
     keyentry with linespoints linestyle 10 title l10, \
     keyentry with linespoints linestyle 20 title l11, \
     keyentry with lines linestyle 22 title l12
unset multiplot
unset output
reset
}
