/* Stand-in for Taskflow: its name and its version, none of its code. */
#pragma once
#define TF_STANDIN "stand-in for Taskflow 3.10.0"
