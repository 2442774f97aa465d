# The tree-sitter library with its Python grammar, from the C sources that scripts/python_grammar.sh puts in place. Defines
# assay_python_grammar, an interface target that is empty without them, and ASSAY_HAVE_PYTHON_GRAMMAR.
set(ASSAY_PYTHON_GRAMMAR_DIR ${PROJECT_SOURCE_DIR}/.assay/packages/python-grammar CACHE PATH "Folder of tree-sitter and its Python grammar")
add_library(assay_python_grammar INTERFACE)
set(ASSAY_HAVE_PYTHON_GRAMMAR OFF)
if(EXISTS ${ASSAY_PYTHON_GRAMMAR_DIR}/parser.c AND EXISTS ${ASSAY_PYTHON_GRAMMAR_DIR}/lib/src/lib.c)
  enable_language(C)
  add_library(assay_tree_sitter STATIC ${ASSAY_PYTHON_GRAMMAR_DIR}/lib/src/lib.c ${ASSAY_PYTHON_GRAMMAR_DIR}/parser.c
    ${ASSAY_PYTHON_GRAMMAR_DIR}/scanner.c)
  target_include_directories(assay_tree_sitter SYSTEM PRIVATE ${ASSAY_PYTHON_GRAMMAR_DIR} ${ASSAY_PYTHON_GRAMMAR_DIR}/lib/src
    PUBLIC ${ASSAY_PYTHON_GRAMMAR_DIR}/lib/include)
  target_compile_options(assay_tree_sitter PRIVATE -w)
  set_target_properties(assay_tree_sitter PROPERTIES C_STANDARD 11 C_EXTENSIONS ON)
  target_link_libraries(assay_python_grammar INTERFACE assay_tree_sitter)
  target_compile_definitions(assay_python_grammar INTERFACE ASSAY_HAVE_PYTHON_GRAMMAR=1)
  set(ASSAY_HAVE_PYTHON_GRAMMAR ON)
endif()
message(STATUS "Python grammar: ${ASSAY_HAVE_PYTHON_GRAMMAR} ${ASSAY_PYTHON_GRAMMAR_DIR}")
