package decoder

// Receipt says how far mail has come.
type Receipt struct {
	Sequence    Sequence    `json:"sequence"`
	Incarnation Incarnation `json:"incarnation"`
	Number      uint64      `json:"number,string"`
	Mark        Hex         `json:"mark"`
	Known       uint16      `json:"known,string"`
	Skipped     []Range     `json:"skipped"`
	Fork        bool        `json:"fork"`
}

// Range is numbers of mail, both ends among them.
type Range struct {
	From uint64 `json:"from,string"`
	To   uint64 `json:"to,string"`
}

// Note is a record of kind 4.
type Note struct {
	Version uint64   `json:"version,string"`
	Bond    uint64   `json:"bond,string"`
	Receipt *Receipt `json:"receipt"`
}

// Mail is a record of kind 3, a batch of items or a part of one.
type Mail struct {
	Sequence   Sequence `json:"sequence"`
	Generation uint64   `json:"generation,string"`
	Bond       uint64   `json:"bond,string"`
	Base       uint64   `json:"base,string"`
	First      uint64   `json:"first,string"`
	Prior      Hex      `json:"prior"`
	Items      []Item   `json:"items"`
	Part       *Part    `json:"part"`
}

// Item is a message, or a SKIP in its place.
type Item struct {
	Skip bool   `json:"skip"`
	ID   Hex    `json:"id"`
	Time uint64 `json:"time,string"`
	Body Hex    `json:"body"`
}

// Part is a piece of an encoded item.
type Part struct {
	Set   uint64 `json:"set,string"`
	Index uint8  `json:"index,string"`
	Count uint8  `json:"count,string"`
	Bytes Hex    `json:"bytes"`
}

func readReceipt(r *reader) *Receipt {
	c := &Receipt{
		Sequence: readSequence(r), Incarnation: readIncarnation(r), Number: r.u64(), Mark: r.take(8),
		Skipped: []Range{},
	}
	flags := r.u8()
	r.must(flags <= 3)
	c.Fork = flags&1 != 0
	n := r.u8()
	r.must(n <= 16)
	for i := 0; i < int(n) && r.err == nil; i++ {
		first, last := uint64(r.u16()), uint64(r.u16())
		r.must(first <= 1023 && first >= last && first < c.Number)
		s := Range{From: c.Number - first, To: c.Number - last}
		r.must(i == 0 || s.From > c.Skipped[i-1].To+1)
		c.Skipped = append(c.Skipped, s)
	}
	c.Known = uint16(min(c.Number, 1024))
	if flags&2 != 0 {
		known := r.u16()
		r.must(known < c.Known)
		c.Known = known
	}
	r.must(len(c.Skipped) == 0 || c.Number-c.Skipped[0].From < uint64(c.Known))
	return c
}

// readRange is how ranges are kept, not sent.
func readRange(r *reader) *Range {
	s := &Range{From: r.u64(), To: r.u64()}
	r.must(s.From <= s.To)
	return s
}

func readNote(r *reader) *Note {
	r.format()
	return &Note{Version: r.u64(), Bond: r.u64(), Receipt: readReceipt(r)}
}

func readMail(r *reader) *Mail {
	r.format()
	m := &Mail{Sequence: readSequence(r), Generation: r.u64(), Bond: r.u64(), Base: r.u64(), Items: []Item{}}
	r.must(m.Base >= 1)
	m.First = r.u64()
	r.must(m.First >= 1 && m.First <= ^uint64(0)-255)
	m.Prior = r.take(8)
	if r.flag() {
		m.Part = readPart(r)
		return m
	}
	n := r.u8()
	r.must(n >= 1)
	for i := uint8(0); i < n && r.err == nil; i++ {
		m.Items = append(m.Items, *readItem(r))
	}
	return m
}

func readItem(r *reader) *Item {
	i := &Item{Skip: r.flag(), ID: r.take(16)}
	if !i.Skip {
		i.Time = r.time()
		i.Body = r.limited(uint64(r.u32()), 65536)
	}
	return i
}

func readPart(r *reader) *Part {
	p := &Part{Set: r.u64(), Index: r.u8(), Count: r.u8()}
	r.must(p.Count <= 8 && p.Index < p.Count)
	n := r.u16()
	r.must(n >= 1)
	p.Bytes = r.take(uint64(n))
	return p
}
