package console

// ctrlA begins what the user says to goum rather than to the guest.
const ctrlA = 'A' & 0x1f

// helpText is what Ctrl-A ? shows. The host's terminal is raw.
const helpText = "\r\ngoum: Ctrl-A x   end the machine\r\n      Ctrl-A a   send Ctrl-A (also Ctrl-A Ctrl-A)\r\n      Ctrl-A ?   this help\r\n"

// escape is where in an escape sequence the input is.
type escape struct {
	after bool // a Ctrl-A has come
	quit  bool // Ctrl-A x has come
}

// filter takes escape sequences out of p, in place, and acts on them. mu is held.
func (c *Console) filter(p []byte) []byte {
	out := p[:0]
	for _, b := range p {
		if !c.escape.after {
			if b == ctrlA {
				c.escape.after = true
			} else {
				out = append(out, b)
			}
			continue
		}
		c.escape.after = false
		switch b {
		case 'x', 'X', 'X' & 0x1f:
			if !c.escape.quit {
				c.escape.quit = true
				go c.opt.Quit()
			}
		case 'a', ctrlA:
			out = append(out, ctrlA)
		case '?', 'h', 'H':
			c.help = true
			c.change.Broadcast()
		}
	}
	return out
}
