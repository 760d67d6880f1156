/* The scans on a CPU, one pass over memory each way.
 *
 * Sequences are rows of matrices: sequence s owns rows start[s] .. start[s] + length[s] - 1 of every operand. Operands have
 * unit channel stride and a row pitch of their own. Channels are taken in blocks of LANES; a short last block is padded with
 * zeros in registers, so a channel's bits never depend on how many there are, nor on where a sequence was split.
 *
 * Every operator is compiled for float and for double: REAL.
 */
#include "lanes.h"

#define REAL float
#include "blocks.h"
#include "linear.h"
#include "gated.h"
#undef REAL
#define REAL double
#include "blocks.h"
#include "linear.h"
#include "gated.h"
#undef REAL
