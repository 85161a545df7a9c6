// Package vfs is what all file systems share: nodes, the cache of names, mounts, the one path walk, open files, file locks and
// change events.
//
// A file system supplies Nodes and, when one is opened, Files; both have few methods, and what is optional is found by type
// assertion: a missing one gives Linux's errno. vfs checks permissions, flags and the order of errors as Linux 6.18's
// fs/namei.c, fs/open.c and fs/read_write.c do, so that a file system only does what it is told.
//
// Invariants:
//   - A Dentry's node never changes: a name that appears or goes gets a new Dentry. A negative one (no node) is never referenced.
//   - A directory has one hashed Dentry, and each hashed Dentry is in the map of its parent under its own name.
//   - Changes below a directory, and look-ups that miss the cache, happen with the directory's gate held (Inode.gate): what
//     the cache says is then what the file system says.
//   - An Open releases its File exactly once, when its last reference goes; a Location that is kept (open file, working
//     directory, mount) is counted, one that a walk returned is not.
//   - No lock is held while a file system is called or the guest's memory is copied: only gates, which may be slept on.
//
// Order of gates: Super.renames; then directories from the root downwards (lockTwo); then the victim; Open.gate and a file
// system's own gate for file contents are innermost. Locks: System.mu (lock.Mount) outside Super.names (lock.Dentry);
// Inode's locks of files (lock.Inode) outside lock.Dentry.
package vfs
