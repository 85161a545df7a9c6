//go:build initramfs

package rootfs

import _ "embed" // for the initramfs

//go:embed initramfs.cpio
var embedded []byte
