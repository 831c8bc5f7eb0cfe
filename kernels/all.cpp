// Every kernel in one translation unit: compiled once for each instruction set.

#include "attention.cpp"
#include "limits.cpp"
#include "linear.cpp"
#include "logits.cpp"
#include "q8.cpp"
#include "rowwise.cpp"
#include "self-test.cpp"
