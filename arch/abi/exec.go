package abi

// AT_EXECVE_CHECK asks execveat(2) whether a file could be run, and runs nothing.
const AT_EXECVE_CHECK = 0x10000
