// Stand-in for yalantinglibs.
#pragma once
#define YLT_STANDIN 1
