package reliable

// A pool keeps the memory that rings have given back, by classes of sizes. What lay unused for a whole period between
// two trims is left to the garbage collector.
type pool struct {
	classes []poolClass // from minClass on
	held    int         // pieces
}

type poolClass struct {
	free   [][]byte
	unused int // least length of free since the last trim
}

// take returns memory of a class; what is in it is garbage.
func (p *pool) take(class uint8) []byte {
	if i := int(class) - minClass; i < len(p.classes) {
		c := &p.classes[i]
		if n := len(c.free) - 1; n >= 0 {
			b := c.free[n]
			c.free[n] = nil
			c.free = c.free[:n]
			c.unused = min(c.unused, n)
			p.held--
			return b
		}
	}
	return make([]byte, 1<<class)
}

// give takes back what take returned.
func (p *pool) give(b []byte) {
	i := int(class(len(b))) - minClass
	for i >= len(p.classes) {
		p.classes = append(p.classes, poolClass{})
	}
	p.classes[i].free = append(p.classes[i].free, b)
	p.held++
}

// trim drops what was not used since the last trim.
func (p *pool) trim() {
	for i := range p.classes {
		c := &p.classes[i]
		n := len(c.free) - c.unused
		p.held -= c.unused
		clear(c.free[n:])
		c.free = c.free[:n]
		c.unused = n
	}
	if p.held == 0 {
		p.classes = nil
	}
}
