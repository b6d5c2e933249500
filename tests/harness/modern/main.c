#include "../common/common.h"
int modern_main(const struct options *options) { (void)options; return 1; }
