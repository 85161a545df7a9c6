package unix

import "goum/kernel/fs/vfs"

var vfsRoot vfs.Location
