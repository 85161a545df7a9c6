package tty

import "goum/arch/abi"

// output is Discipline.out while it is being filled: no more than the line has room for.
type output struct {
	buf []byte
}

func (o *output) room() int { return cap(o.buf) - len(o.buf) }

func (o *output) put(c byte) bool {
	if o.room() == 0 {
		return false
	}
	o.buf = append(o.buf, c)
	return true
}

func (d *Discipline) begin() output {
	return output{buf: d.out[:0:min(len(d.out), d.Room())]}
}

func (d *Discipline) finish(o *output) {
	if len(o.buf) > 0 {
		d.line.Put(o.buf)
	}
}

// Room is how many bytes could be put on the line now: none while output is stopped.
func (d *Discipline) Room() int {
	if d.stopped {
		return 0
	}
	return max(d.line.Room(), 0)
}

// Write processes what a program writes and puts it on the line. It returns how many of p were used: fewer than len(p) when the
// line has no room. Echoes that wait go first.
func (d *Discipline) Write(p []byte) int {
	d.processEchoes()
	done := 0
	for done < len(p) {
		if !d.o(abi.OPOST) {
			n := min(len(p)-done, d.Room())
			if n == 0 {
				break
			}
			done += d.line.Put(p[done : done+n])
			continue
		}
		o := d.begin()
		n := 0
		for done+n < len(p) && d.cook(p[done+n], &o) {
			n++
		}
		d.finish(&o)
		if n == 0 {
			break
		}
		done += n
	}
	return done
}

// cook is the processing of output that OPOST asks for. False: no room.
func (d *Discipline) cook(c byte, o *output) bool {
	if o.room() == 0 {
		return false
	}
	switch c {
	case '\n':
		if d.o(abi.ONLRET) {
			d.column = 0
		}
		if d.o(abi.ONLCR) {
			if o.room() < 2 {
				return false
			}
			d.column, d.canonColumn = 0, 0
			o.put('\r')
			return o.put('\n')
		}
		d.canonColumn = d.column
	case '\r':
		if d.o(abi.ONOCR) && d.column == 0 {
			return true
		}
		if d.o(abi.OCRNL) {
			c = '\n'
			if d.o(abi.ONLRET) {
				d.column, d.canonColumn = 0, 0
			}
			break
		}
		d.column, d.canonColumn = 0, 0
	case '\t':
		spaces := 8 - d.column&7
		if d.termios.Oflag&abi.TABDLY == abi.XTABS {
			if o.room() < int(spaces) {
				return false
			}
			d.column += spaces
			for range spaces {
				o.put(' ')
			}
			return true
		}
		d.column += spaces
	case '\b':
		if d.column > 0 {
			d.column--
		}
	default:
		if !isCntrl(c) {
			if d.o(abi.OLCUC) {
				c = toUpper(c)
			}
			if !d.continuation(c) {
				d.column++
			}
		}
	}
	return o.put(c)
}
