# Writes build_info.h: which build this is. Run by CMakeLists.txt at every build; configure_file leaves an unchanged
# file alone, so that nothing is compiled anew.
#   cmake -D header=FILE -D version=V -D build_type=T -D compiler=C -D flags=F
#         [-D cuda_toolkit=V -D cuda_architectures=A] -P build_info.cmake
cmake_minimum_required(VERSION 3.25)

# safe.directory: builds as root of somebody else's clone would not be told the commit otherwise.
get_filename_component(source ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
execute_process(
  COMMAND git -c safe.directory=${source} describe --always --exclude=* --abbrev=7 --dirty=+
  WORKING_DIRECTORY ${source} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE failed ERROR_QUIET)
if(failed)
  set(commit unknown)  # an unpacked archive, or no git
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_info.h.in ${header} @ONLY)
