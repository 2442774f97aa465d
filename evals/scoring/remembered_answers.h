#pragma once

#include <memory>

#include "engine/base/file.h"
#include "evals/scoring/code_check.h"

namespace assay {

// A runner whose answers() are kept in `folder`, so that reference solutions run once a machine and not once a command:
// they take longer than most programs that are judged by them. What is asked, the limits, the interpreter and the
// isolation name the file; a file that is not whole is asked for anew. Everything else goes to `runner`.
std::unique_ptr<ProgramRunner> remember_answers(std::unique_ptr<ProgramRunner> runner, Files& files, Path folder);

}  // namespace assay
