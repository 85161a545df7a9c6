// Package conform holds tests that compare the guest with Linux, call by call.
//
// Each family of tests is a list of named cases, most of them one raw system call: an errno for each bad argument, the order of the
// checks, partial results, positions, statuses. What Linux 6.18 answered stands in testdata/FAMILY.golden; the test holds the host
// to it, and then the guest. A case that needs root or a newer host is marked so and left out where the host cannot show it.
//
// After a new case, run the family as root with -update, and read what Linux said before believing it.
//
// The package holds no state and no lock.
package conform
