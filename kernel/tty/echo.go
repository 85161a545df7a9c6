package tty

import "goum/arch/abi"

// Echoes wait in a ring of their own, because they must not mix with a write that is under way, and how far a tab goes is
// known only when they are written. The byte opStart introduces a code; itself it is doubled.
const (
	opStart       = 0xff
	opBack        = 0x80 // the column is one less: bytes after the first of a character
	opCanonColumn = 0x81 // here a line begins
	opEraseTab    = 0x82 // followed by the columns used since a tab (bit 7) or since the line's beginning
)

func (d *Discipline) echoByte(c byte) {
	d.echo[d.echoHead&ringMask] = c
	d.echoHead++
}

func (d *Discipline) echoOp(op byte) {
	d.echoByte(opStart)
	d.echoByte(op)
}

// echoRaw echoes c as it is.
func (d *Discipline) echoRaw(c byte) {
	if c == opStart {
		d.echoByte(opStart)
	}
	d.echoByte(c)
}

// echoChar echoes c, control characters as ^X if so set.
func (d *Discipline) echoChar(c byte) {
	if c == opStart || d.l(abi.ECHOCTL) && isCntrl(c) && c != '\t' {
		d.echoByte(opStart)
	}
	d.echoByte(c)
}

func (d *Discipline) echoEraseTab(columns uint, afterTab bool) {
	columns &= 7
	if afterTab {
		columns |= 0x80
	}
	d.echoOp(opEraseTab)
	d.echoByte(byte(columns))
}

func (d *Discipline) finishErasing() {
	if d.erasing {
		d.echoRaw('/')
		d.erasing = false
	}
}

// commitEchoes says that the echo of one character is complete. They are written when many wait; else flushEchoes does it.
func (d *Discipline) commitEchoes() {
	d.echoMark = d.echoHead
	old := d.echoDue - d.echoTail
	n := d.echoHead - d.echoTail
	if n < echoCommit || n%echoBlock > old%echoBlock {
		return
	}
	d.echoDue = d.echoHead
	d.writeEchoes()
}

func (d *Discipline) flushEchoes() {
	if !d.l(abi.ECHO|abi.ECHONL) || d.echoDue == d.echoHead {
		return
	}
	d.echoDue = d.echoHead
	d.writeEchoes()
}

// processEchoes writes the complete ones.
func (d *Discipline) processEchoes() {
	if d.echoMark == d.echoTail {
		return
	}
	d.echoDue = d.echoMark
	d.writeEchoes()
}

func (d *Discipline) writeEchoes() {
	for d.echoTail != d.echoDue {
		o := d.begin()
		tail, full := d.echoTail, false
		for tail != d.echoDue && !full {
			n, ok := d.writeEcho(tail, &o)
			if n == 0 {
				d.finish(&o)
				d.echoTail = tail
				return // only a part of it is there yet
			}
			if full = !ok; ok {
				tail += n
			}
		}
		d.finish(&o)
		moved := tail != d.echoTail
		d.echoTail = tail
		if !moved {
			break
		}
	}
	// If nobody drains the line, drop the oldest before the newest overwrite them.
	for int(d.echoDue-d.echoTail) >= echoDiscard {
		switch {
		case d.echo[d.echoTail&ringMask] != opStart:
			d.echoTail++
		case d.echo[(d.echoTail+1)&ringMask] == opEraseTab:
			d.echoTail += 3
		default:
			d.echoTail += 2
		}
	}
}

// writeEcho writes the echo at tail to o and returns its length there: 0 if it is incomplete. False: o has no room.
func (d *Discipline) writeEcho(tail uint, o *output) (uint, bool) {
	c := d.echo[tail&ringMask]
	if c != opStart {
		if d.o(abi.OPOST) {
			return 1, d.cook(c, o)
		}
		return 1, o.put(c)
	}
	left := d.echoDue - tail
	if left < 2 {
		return 0, false
	}
	switch op := d.echo[(tail+1)&ringMask]; op {
	case opEraseTab:
		if left < 3 {
			return 0, false
		}
		columns := uint(d.echo[(tail+2)&ringMask])
		if columns&0x80 == 0 {
			columns += d.canonColumn
		}
		back := 8 - int(columns&7)
		if o.room() < back {
			return 3, false
		}
		for range back {
			o.put('\b')
			if d.column > 0 {
				d.column--
			}
		}
		return 3, true
	case opCanonColumn:
		d.canonColumn = d.column
	case opBack:
		if d.column > 0 {
			d.column--
		}
	case opStart:
		if !o.put(opStart) {
			return 2, false
		}
		d.column++
	default:
		if o.room() < 2 {
			return 2, false
		}
		o.put('^')
		o.put(op ^ 0x40)
		d.column += 2
	}
	return 2, true
}
