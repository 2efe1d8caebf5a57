package decoder

import "net/netip"

// Incarnation names one store of an identity.
type Incarnation struct {
	Created uint64 `json:"created,string"`
	Random  uint64 `json:"random,string"`
}

// Sequence is one numbering of mail.
type Sequence struct {
	Incarnation Incarnation `json:"incarnation"`
	Counter     uint32      `json:"counter,string"`
}

// Prekey is the public half of a prekey.
type Prekey struct {
	Number uint64 `json:"number,string"`
	Public Hex    `json:"public"`
}

// State is a record of kind 1.
type State struct {
	Incarnation Incarnation      `json:"incarnation"`
	Version     uint64           `json:"version,string"`
	Time        uint64           `json:"time,string"`
	Format      uint8            `json:"format,string"`
	Start       uint64           `json:"start,string"`
	Relation    uint8            `json:"relation,string"`
	Bond        uint64           `json:"bond,string"`
	Presence    uint8            `json:"presence,string"`
	Profile     uint64           `json:"profile,string"`
	Prekey      Prekey           `json:"prekey"`
	CannotOpen  uint64           `json:"cannot_open,string"`
	Endpoints   []netip.AddrPort `json:"endpoints"`
	Window      *Window          `json:"window"`
	Receipt     *Receipt         `json:"receipt"`
	Offer       Hex              `json:"offer"`
}

// Window says which mail slots hold what.
type Window struct {
	Sequence Sequence     `json:"sequence"`
	Slots    []WindowSlot `json:"slots"`
}

// WindowSlot is one of them.
type WindowSlot struct {
	Slot       uint8  `json:"slot,string"`
	Generation uint64 `json:"generation,string"`
}

// Profile is a record of kind 2.
type Profile struct {
	Incarnation Incarnation `json:"incarnation"`
	Version     uint64      `json:"version,string"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
}

// Hello is a record of kind 5.
type Hello struct {
	Incarnation Incarnation     `json:"incarnation"`
	Version     uint64          `json:"version,string"`
	Time        uint64          `json:"time,string"`
	Start       uint64          `json:"start,string"`
	Bond        uint64          `json:"bond,string"`
	Nonce       uint64          `json:"nonce,string"`
	Echo        uint64          `json:"echo,string"`
	Presence    uint8           `json:"presence,string"`
	Answer      bool            `json:"answer"`
	Observed    *netip.AddrPort `json:"observed"`
}

// Request is a record of kind 6.
type Request struct {
	From        Hex              `json:"from"`
	Incarnation Incarnation      `json:"incarnation"`
	Nospam      Hex              `json:"nospam"`
	Number      uint64           `json:"number,string"`
	Time        uint64           `json:"time,string"`
	Expiry      uint64           `json:"expiry,string"`
	Format      uint8            `json:"format,string"`
	Start       uint64           `json:"start,string"`
	Name        string           `json:"name"`
	Hello       string           `json:"hello"`
	Prekey      Prekey           `json:"prekey"`
	Endpoints   []netip.AddrPort `json:"endpoints"`
}

// format is the first byte of a record.
func (r *reader) format() {
	if r.u8() != 1 {
		r.fail(Format)
	}
}

func readIncarnation(r *reader) Incarnation {
	return Incarnation{Created: r.time(), Random: r.u64()}
}

func readSequence(r *reader) Sequence {
	return Sequence{Incarnation: readIncarnation(r), Counter: r.u32()}
}

func readPrekey(r *reader) Prekey {
	k := Prekey{Number: r.u64()}
	r.must(k.Number != 0)
	k.Public = r.take(32)
	return k
}

func (r *reader) highestFormat() uint8 {
	f := r.u8()
	r.must(f >= 1)
	return f
}

// enum is a byte of a registry.
func (r *reader) enum(most uint8) uint8 {
	v := r.u8()
	r.must(v <= most)
	return v
}

func readState(r *reader) *State {
	r.format()
	s := &State{
		Incarnation: readIncarnation(r), Version: r.u64(), Time: r.time(), Format: r.highestFormat(),
		Start: r.u64(), Relation: r.enum(3), Bond: r.u64(), Presence: r.enum(3), Profile: r.u64(),
		Prekey: Prekey{Public: make(Hex, 32)},
	}
	flags := r.u8()
	r.must(flags < 32)
	s.Endpoints = r.endpoints()
	if flags&1 != 0 {
		s.Prekey = readPrekey(r)
	}
	if flags&2 != 0 {
		s.CannotOpen = r.u64()
		r.must(s.CannotOpen != 0)
	}
	if flags&4 != 0 {
		s.Window = readWindow(r)
	}
	if flags&8 != 0 {
		s.Receipt = readReceipt(r)
	}
	if flags&16 != 0 {
		n := r.u16()
		r.must(n >= 1)
		s.Offer = r.limited(uint64(n), 320)
	}
	return s
}

func readWindow(r *reader) *Window {
	w := &Window{Sequence: readSequence(r)}
	bits := r.u8()
	r.must(bits != 0)
	for n := range uint8(8) {
		if bits>>n&1 == 1 {
			w.Slots = append(w.Slots, WindowSlot{Slot: n, Generation: r.u64()})
		}
	}
	return w
}

func readProfile(r *reader) *Profile {
	r.format()
	return &Profile{
		Incarnation: readIncarnation(r), Version: r.u64(),
		Name: r.name(uint64(r.u8()), 64, ""), Description: r.name(uint64(r.u8()), 255, prose),
	}
}

func readHello(r *reader) *Hello {
	r.format()
	return &Hello{
		Incarnation: readIncarnation(r), Version: r.u64(), Time: r.time(), Start: r.u64(), Bond: r.u64(),
		Nonce: r.u64(), Echo: r.u64(), Presence: r.enum(3), Answer: r.flag(), Observed: r.socket(),
	}
}

func readRequest(r *reader) *Request {
	r.format()
	q := &Request{From: r.take(32), Incarnation: readIncarnation(r), Nospam: r.take(8), Number: r.u64()}
	r.must(q.Number >= 1)
	q.Time, q.Expiry = r.time(), r.time()
	q.Format, q.Start = r.highestFormat(), r.u64()
	q.Name = r.name(uint64(r.u8()), 64, "")
	q.Hello = r.name(uint64(r.u16()), 256, prose)
	q.Prekey = readPrekey(r)
	q.Endpoints = r.endpoints()
	return q
}
