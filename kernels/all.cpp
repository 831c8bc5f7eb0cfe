// Every kernel in one translation unit: compiled once for each instruction set.

#include "attention.cpp"
#include "attention-bf16.cpp"
#include "limits.cpp"
#include "linear.cpp"
#include "logits.cpp"
#include "q8.cpp"
#include "q4.cpp"  // after q8, whose activations it takes
#include "rowwise.cpp"
#include "self-test.cpp"
