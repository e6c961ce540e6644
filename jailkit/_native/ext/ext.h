#ifndef JAILKIT_EXT_H
#define JAILKIT_EXT_H
#include <stdint.h>

#include "../abi.h"
#include "../ext.h"
#endif
