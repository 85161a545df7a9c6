package tty

import "goum/arch/abi"

// Receive takes bytes that arrived from the line and returns how many: fewer than len(p) when readers have to make room first
// (see NoRoom). While a line is being typed that fills the ring, it takes all, and each byte replaces the one before.
func (d *Discipline) Receive(p []byte) int {
	taken := 0
	for len(p) > 0 {
		room := ringSize - int(d.readHead-d.readTail)
		if d.i(abi.PARMRK) {
			room = (room + 2) / 3
		}
		room--
		if room <= 0 {
			overflow := d.l(abi.ICANON) && d.canonHead == d.readTail
			if !overflow {
				d.noRoom = true
				break
			}
			// The last byte makes room for one more; with PARMRK, the last two for one that is doubled.
			most := uint(ringSize - 1)
			if d.i(abi.PARMRK) {
				most--
			}
			if d.readHead-d.readTail > most {
				d.readHead = d.readTail + most
			}
			room = 1
		}
		n := min(len(p), room)
		d.receive(p[:n])
		p = p[n:]
		taken += n
	}
	return taken
}

// NoRoom says whether Receive left bytes behind since the last call, which a reader should tell their sender of.
func (d *Discipline) NoRoom() bool {
	was := d.noRoom
	d.noRoom = false
	return was
}

// LookAhead looks for VSTOP and VSTART among bytes that Receive has no room for, so that a terminal whose reader sleeps can
// still be stopped and started. The caller removes those bytes, for which it returns true.
func (d *Discipline) LookAhead(c byte) bool {
	return d.i(abi.IXON) && !d.raw && d.special[c] && d.flow(c)
}

// receive takes bytes for which there is room.
func (d *Discipline) receive(p []byte) {
	before := d.i(abi.ISTRIP) || d.i(abi.IUCLC) && d.l(abi.IEXTEN)
	switch {
	case d.raw || d.l(abi.EXTPROC) && !before:
		n := copy(d.ring[d.readHead&ringMask:], p)
		copy(d.ring[:], p[n:])
		d.readHead += uint(len(p))
	default:
		for _, c := range p {
			if d.i(abi.ISTRIP) {
				c &= 0x7f
			}
			if d.i(abi.IUCLC) && d.l(abi.IEXTEN) {
				c = toLower(c)
			}
			switch {
			case d.lnext:
				d.lnext = false
				d.ordinary(c)
			case d.l(abi.EXTPROC):
				d.queue(c)
			case d.special[c]:
				d.control(c)
			default:
				d.ordinary(c)
			}
		}
		d.flushEchoes()
	}
	if d.canon() {
		return
	}
	d.commitHead = d.readHead
	if d.readHead != d.readTail {
		d.line.Wake(pollIn)
	}
}

// ordinary takes a character that means itself.
func (d *Discipline) ordinary(c byte) {
	d.restart()
	if d.l(abi.ECHO) {
		d.finishErasing()
		d.beginLine()
		d.echoChar(c)
		d.commitEchoes()
	}
	d.store(c)
}

// control takes a character that may mean something else.
func (d *Discipline) control(c byte) {
	if d.i(abi.IXON) && d.flow(c) {
		return
	}
	if d.l(abi.ISIG) {
		switch {
		case d.is(c, abi.VINTR):
			d.signal(abi.SIGINT, c)
			return
		case d.is(c, abi.VQUIT):
			d.signal(abi.SIGQUIT, c)
			return
		case d.is(c, abi.VSUSP):
			d.signal(abi.SIGTSTP, c)
			return
		}
	}
	d.restart()
	switch {
	case c == '\r' && d.i(abi.IGNCR):
		return
	case c == '\r' && d.i(abi.ICRNL):
		c = '\n'
	case c == '\n' && d.i(abi.INLCR):
		c = '\r'
	}
	if d.l(abi.ICANON) && d.edit(c) {
		return
	}
	if d.l(abi.ECHO) {
		d.finishErasing()
		if c == '\n' {
			d.echoRaw('\n')
		} else {
			d.beginLine()
			d.echoChar(c)
		}
		d.commitEchoes()
	}
	d.store(c)
}

// flow handles VSTART and VSTOP.
func (d *Discipline) flow(c byte) bool {
	switch {
	case d.is(c, abi.VSTART):
		d.start()
		d.processEchoes()
	case d.is(c, abi.VSTOP):
		d.stop()
	default:
		return false
	}
	return true
}

// restart lets stopped output go on at any character: IXANY.
func (d *Discipline) restart() {
	if d.stopped && !d.tcoStopped && d.i(abi.IXON) && d.i(abi.IXANY) {
		d.start()
		d.processEchoes()
	}
}

func (d *Discipline) signal(sig int, c byte) {
	d.line.Signal(sig)
	if !d.l(abi.NOFLSH) {
		d.echoHead, d.echoMark, d.echoDue, d.echoTail = 0, 0, 0, 0
		d.line.Flush()
		d.FlushInput()
	}
	if d.i(abi.IXON) {
		d.start()
	}
	if d.l(abi.ECHO) {
		d.echoChar(c)
		d.commitEchoes()
	} else {
		d.processEchoes()
	}
}

// edit handles what a line consists of in canonical mode. False: c belongs into it.
func (d *Discipline) edit(c byte) bool {
	ext := d.l(abi.IEXTEN)
	switch {
	case c == disabled:
		return false
	case d.is(c, abi.VERASE), d.is(c, abi.VKILL), d.is(c, abi.VWERASE) && ext:
		d.erase(c)
		d.commitEchoes()
	case d.is(c, abi.VLNEXT) && ext:
		d.lnext = true
		if d.l(abi.ECHO) {
			d.finishErasing()
			if d.l(abi.ECHOCTL) {
				d.echoRaw('^')
				d.echoRaw('\b')
				d.commitEchoes()
			}
		}
	case d.is(c, abi.VREPRINT) && d.l(abi.ECHO) && ext:
		d.finishErasing()
		d.echoChar(c)
		d.echoRaw('\n')
		for at := d.canonHead; at != d.readHead; at++ {
			d.echoChar(d.at(at))
		}
		d.commitEchoes()
	case c == '\n':
		if d.l(abi.ECHO | abi.ECHONL) {
			d.echoRaw('\n')
			d.commitEchoes()
		}
		d.endLine(c)
	case d.is(c, abi.VEOF):
		d.endLine(disabled)
	case d.is(c, abi.VEOL), d.is(c, abi.VEOL2) && ext:
		if d.l(abi.ECHO) {
			d.beginLine()
			d.echoChar(c)
			d.commitEchoes()
		}
		if c == 0xff && d.i(abi.PARMRK) {
			d.queue(c)
		}
		d.endLine(c)
	default:
		return false
	}
	return true
}

func (d *Discipline) endLine(c byte) {
	d.setEnd(d.readHead)
	d.queue(c)
	d.canonHead = d.readHead
	d.line.Wake(pollIn)
}

func (d *Discipline) store(c byte) {
	if c == 0xff && d.i(abi.PARMRK) {
		d.queue(c)
	}
	d.queue(c)
}

// beginLine remembers the column of a line's first character, from which tabs are erased.
func (d *Discipline) beginLine() {
	if d.canonHead == d.readHead {
		d.echoOp(opCanonColumn)
	}
}

// erase takes back a character, a word or the line, and what of it can be seen.
func (d *Discipline) erase(c byte) {
	if d.readHead == d.canonHead {
		return
	}
	word, line := false, false
	switch {
	case d.is(c, abi.VERASE):
	case d.is(c, abi.VWERASE):
		word = true
	default:
		line = true
		if !d.l(abi.ECHO) {
			d.readHead = d.canonHead
			return
		}
		if !d.l(abi.ECHOK) || !d.l(abi.ECHOKE) || !d.l(abi.ECHOE) {
			d.readHead = d.canonHead
			d.finishErasing()
			d.echoChar(d.cc(abi.VKILL))
			if d.l(abi.ECHOK) {
				d.echoRaw('\n')
			}
			return
		}
	}
	inWord := false
	for d.readHead != d.canonHead {
		head := d.readHead - 1 // one character, of several bytes in UTF-8
		for d.continuation(d.at(head)) && head != d.canonHead {
			head--
		}
		c := d.at(head)
		if d.continuation(c) {
			break // its beginning was read already
		}
		if word {
			if isWord(c) {
				inWord = true
			} else if inWord {
				break
			}
		}
		size := d.readHead - head
		d.readHead = head
		if d.l(abi.ECHO) {
			d.echoErase(c, size, word || line)
		}
		if !word && !line {
			break
		}
	}
	if d.readHead == d.canonHead && d.l(abi.ECHO) {
		d.finishErasing()
	}
}

// echoErase shows that c, of size bytes, which now begins at readHead, is gone.
func (d *Discipline) echoErase(c byte, size uint, many bool) {
	switch {
	case d.l(abi.ECHOPRT):
		if !d.erasing {
			d.echoRaw('\\')
			d.erasing = true
		}
		d.echoChar(c)
		for i := uint(1); i < size; i++ {
			d.echoRaw(d.at(d.readHead + i))
			d.echoOp(opBack)
		}
	case !many && !d.l(abi.ECHOE):
		d.echoChar(d.cc(abi.VERASE))
	case c == '\t':
		// How far back depends on the columns since the last tab, or since the beginning of the line.
		columns, afterTab := uint(0), false
		for at := d.readHead; at != d.canonHead && !afterTab; {
			at--
			switch c := d.at(at); {
			case c == '\t':
				afterTab = true
			case isCntrl(c):
				if d.l(abi.ECHOCTL) {
					columns += 2
				}
			case !d.continuation(c):
				columns++
			}
		}
		d.echoEraseTab(columns, afterTab)
	default:
		if isCntrl(c) && d.l(abi.ECHOCTL) {
			d.echoRaw('\b')
			d.echoRaw(' ')
			d.echoRaw('\b')
		}
		if !isCntrl(c) || d.l(abi.ECHOCTL) {
			d.echoRaw('\b')
			d.echoRaw(' ')
			d.echoRaw('\b')
		}
	}
}

// continuation says whether c is not the first byte of a character in UTF-8.
func (d *Discipline) continuation(c byte) bool { return d.i(abi.IUTF8) && c&0xc0 == 0x80 }
