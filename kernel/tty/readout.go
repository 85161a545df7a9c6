package tty

import "goum/arch/abi"

// Ready says whether a read would find something. For poll, a raw terminal is readable only once VMIN bytes are there, unless VTIME is set.
func (d *Discipline) Ready(poll bool) bool {
	if d.canon() {
		return d.canonHead != d.readTail
	}
	want := uint(1)
	if poll && d.cc(abi.VTIME) == 0 && d.cc(abi.VMIN) != 0 {
		want = uint(d.cc(abi.VMIN))
	}
	return d.commitHead-d.readTail >= want
}

// Take moves input into p: up to the end of a line in canonical mode. more says that the same read(2) may go on with what is left:
// for a line, until its end. It takes nothing where there is nothing, and also for an end of file.
func (d *Discipline) Take(p []byte) (n int, more bool) {
	if d.canon() {
		return d.takeLine(p)
	}
	n = min(len(p), int(d.commitHead-d.readTail))
	if n == 0 {
		return 0, false
	}
	at := d.readTail & ringMask
	n = min(n, ringSize-int(at)) // what wraps comes with the next call, as in Linux
	copy(p[:n], d.ring[at:])
	eof := n == 1 && p[0] == d.cc(abi.VEOF)
	d.readTail += uint(n)
	if d.l(abi.EXTPROC) && d.l(abi.ICANON) && eof && d.readTail == d.commitHead {
		return 0, false
	}
	return n, d.readTail != d.commitHead
}

func (d *Discipline) takeLine(p []byte) (n int, more bool) {
	if len(p) == 0 {
		return 0, false
	}
	for n < len(p) && d.readTail != d.canonHead {
		at := d.readTail
		c, end := d.at(at), d.isEnd(at)
		d.readTail++
		if !end {
			p[n] = c
			n++
			continue
		}
		d.clearEnd(at)
		if c != disabled {
			p[n] = c
			n++
		}
		d.push = false
		return n, false
	}
	return n, d.readTail != d.canonHead
}

// SkipEOF is called when a read got all it asked for in the middle of a line: a VEOF that comes right after was the end of
// what it read, not a second end of file.
func (d *Discipline) SkipEOF() {
	if d.canon() && d.readTail != d.canonHead && d.isEOF(d.readTail) {
		d.clearEnd(d.readTail)
		d.readTail++
	}
}

// Waiting is how many bytes could be read now: FIONREAD. In canonical mode, those of complete lines.
func (d *Discipline) Waiting() int {
	if !d.canon() {
		return int(d.readHead - d.readTail)
	}
	n := 0
	for at := d.readTail; at != d.canonHead; at++ {
		if !d.isEOF(at) {
			n++
		}
	}
	return n
}
