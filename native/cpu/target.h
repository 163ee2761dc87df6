// The instruction set the including file is compiled for. Kernels live in the namespace
// cholax::CHOLAX_TARGET, one copy per instruction set; dispatch.cc chooses among them at run time.
#pragma once

#ifndef CHOLAX_TARGET
#define CHOLAX_TARGET baseline
#define CHOLAX_TARGET_LEVEL 0
#endif
