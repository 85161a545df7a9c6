//go:build !initramfs

package rootfs

// embedded is empty in a goum that was built without the tag.
var embedded []byte
