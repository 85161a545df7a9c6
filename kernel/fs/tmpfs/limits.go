package tmpfs

// Bounds and shapes that Linux gives.
const (
	direntSize = 20   // what an entry adds to a directory's size
	inodeSpace = 1024 // what an inode, a further link, or so many bytes of extended attributes take of nr_inodes
	maxLinks   = 1<<31 - 1
	pageSize   = 4096
)
