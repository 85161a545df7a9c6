// Package scripts holds the project's own rules as tests: who may import what, where unsafe code lives, what the documents say.
//
// The commands beside it are what make runs: test, check, fuzz, test-tools; bench and compat are Go programs.
package scripts
