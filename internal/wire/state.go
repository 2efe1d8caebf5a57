package wire

import (
	"math/bits"
	"net/netip"

	"github.com/gocarrier/carrier/crypto"
)

// Relation is what the writer of a state record is to its reader.
type Relation uint8

// The relations. Bond names the request that each rests on or answers.
const (
	RelationNone    Relation = 0 // a request of ours is under way
	RelationFriend  Relation = 1
	RelationRefused Relation = 2
	RelationRemoved Relation = 3
)

// Presence is what a user shows.
type Presence uint8

// The presences. Offline is the goodbye of a node that stops.
const (
	PresenceOffline Presence = 0
	PresenceOnline  Presence = 1
	PresenceAway    Presence = 2
	PresenceBusy    Presence = 3
)

// A Prekey is the public half of a key that mail to its owner is sealed to.
// The highest number is the newest.
type Prekey struct {
	Number uint64
	Public crypto.PrekeyPublic
}

// State is what a friend must know of us at any time (salt "s", or a datagram).
type State struct {
	Incarnation crypto.Incarnation
	Version     uint64 // rising
	Time        int64  // unix ms, by the writer's clock
	Format      uint8  // highest format that the writer speaks
	Start       uint64 // nonce of the writer's present run
	Relation    Relation
	Bond        uint64
	Presence    Presence
	Profile     uint64 // version of the newest profile; 0: none
	Prekey      Prekey // Number 0: none yet
	CannotOpen  uint64 // a prekey number that mail came for and that we no longer hold; 0: none
	Endpoints   []netip.AddrPort
	Window      *Window  // nil: no mail waits in slots
	Receipt     *Receipt // nil: nothing received yet
	Offer       []byte   // of the transport; nil: none
}

// Window says which mail slots hold what generation.
type Window struct {
	Sequence Sequence
	Slots    []WindowSlot // by rising Slot, at least one
}

// WindowSlot is the generation of mail slot "m<Slot>"; a value there with a
// lower one is stale.
type WindowSlot struct {
	Slot       uint8 // 0..7
	Generation uint64
}

// The parts that a state record may leave out, as bits of its flags.
const (
	statePrekey = 1 << iota
	stateCannotOpen
	stateWindow
	stateReceipt
	stateOffer
	stateFlags = 1<<iota - 1 // all of them
)

// AppendState appends the encoded state, 62 to 789 bytes:
//
//	 0   1  format
//	 1  16  incarnation
//	17   8  version
//	25   8  time
//	33   1  highest format spoken, at least 1
//	34   8  start
//	42   1  relation
//	43   8  bond
//	51   1  presence
//	52   8  profile
//	60   1  flags: 1 prekey, 2 cannotOpen, 4 window, 8 receipt, 16 offer
//	61   1  count of endpoints, at most 8
//	62   …  endpoints, 7 or 19 bytes each
//
// and then, each if its flag is set: prekey (number 8, not 0; key 32),
// cannotOpen (8, not 0), window, receipt, offer (length 2, 1 to 320; bytes).
func AppendState(dst []byte, x *State) []byte {
	dst = AppendUint8(dst, Format)
	dst = AppendIncarnation(dst, x.Incarnation)
	dst = AppendUint64(dst, x.Version)
	dst = AppendTime(dst, x.Time)
	dst = AppendUint8(dst, x.Format)
	dst = AppendUint64(dst, x.Start)
	dst = AppendUint8(dst, uint8(x.Relation))
	dst = AppendUint64(dst, x.Bond)
	dst = AppendUint8(dst, uint8(x.Presence))
	dst = AppendUint64(dst, x.Profile)
	dst = AppendUint8(dst, x.flags())
	dst = appendEndpoints(dst, x.Endpoints)
	if x.Prekey.Number != 0 {
		dst = appendPrekey(dst, x.Prekey)
	}
	if x.CannotOpen != 0 {
		dst = AppendUint64(dst, x.CannotOpen)
	}
	if x.Window != nil {
		dst = AppendWindow(dst, x.Window)
	}
	if x.Receipt != nil {
		dst = AppendReceipt(dst, x.Receipt)
	}
	if len(x.Offer) > 0 {
		dst = AppendBytes16(dst, x.Offer)
	}
	return dst
}

// flags returns the bits of the parts that the state has.
func (x *State) flags() (f uint8) {
	set := func(bit uint8, present bool) {
		if present {
			f |= bit
		}
	}
	set(statePrekey, x.Prekey.Number != 0)
	set(stateCannotOpen, x.CannotOpen != 0)
	set(stateWindow, x.Window != nil)
	set(stateReceipt, x.Receipt != nil)
	set(stateOffer, len(x.Offer) > 0)
	return f
}

// ParseState decodes what AppendState writes.
func ParseState(b []byte) (*State, error) {
	r := NewReader(b)
	r.format()
	x := &State{
		Incarnation: r.Incarnation(),
		Version:     r.Uint64(),
		Time:        r.Time(),
		Format:      r.Uint8(),
		Start:       r.Uint64(),
		Relation:    Relation(r.Uint8()),
		Bond:        r.Uint64(),
		Presence:    r.presence(),
		Profile:     r.Uint64(),
	}
	r.check(x.Format >= Format, "highest format")
	r.check(x.Relation <= RelationRemoved, "relation")
	flags := r.Uint8()
	r.check(flags <= stateFlags, "state flags")
	x.Endpoints = r.endpoints()
	if flags&statePrekey != 0 {
		x.Prekey = r.prekey()
	}
	if flags&stateCannotOpen != 0 {
		x.CannotOpen = r.Uint64()
		r.check(x.CannotOpen != 0, "cannotOpen is 0")
	}
	if flags&stateWindow != 0 {
		x.Window = r.window()
	}
	if flags&stateReceipt != 0 {
		x.Receipt = r.receipt()
	}
	if flags&stateOffer != 0 {
		x.Offer = r.Bytes16(MaxOffer)
		r.check(len(x.Offer) > 0, "offer is empty")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}

// AppendWindow appends the encoded window, 29 to 85 bytes:
//
//	 0  20  sequence
//	20   1  slots: bit n is set if slot n holds mail; not 0
//	21  8n  their generations, by rising slot
//
// It panics if the slots are not as the type says.
func AppendWindow(dst []byte, x *Window) []byte {
	var mask uint8
	for _, s := range x.Slots {
		if s.Slot >= MaxSlots || mask>>s.Slot != 0 {
			panic("wire: slots of a window out of bounds or order")
		}
		mask |= 1 << s.Slot
	}
	if mask == 0 {
		panic("wire: a window without slots")
	}
	dst = AppendUint8(AppendSequence(dst, x.Sequence), mask)
	for _, s := range x.Slots {
		dst = AppendUint64(dst, s.Generation)
	}
	return dst
}

// ParseWindow decodes what AppendWindow writes.
func ParseWindow(b []byte) (*Window, error) {
	r := NewReader(b)
	x := r.window()
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}

func (r *Reader) window() *Window {
	x := &Window{Sequence: r.Sequence()}
	mask := r.Uint8()
	r.check(mask != 0, "window without slots")
	for ; mask != 0; mask &= mask - 1 {
		slot := uint8(bits.TrailingZeros8(mask))
		x.Slots = append(x.Slots, WindowSlot{Slot: slot, Generation: r.Uint64()})
	}
	return x
}

func appendEndpoints(dst []byte, list []netip.AddrPort) []byte {
	dst = AppendUint8(dst, uint8(length(len(list), MaxEndpoints)))
	for _, a := range list {
		if !a.IsValid() {
			panic("wire: an endpoint without an address")
		}
		dst = AppendAddrPort(dst, a)
	}
	return dst
}

func (r *Reader) endpoints() []netip.AddrPort {
	var list []netip.AddrPort
	for range r.Count(MaxEndpoints) {
		a := r.AddrPort()
		r.check(a.IsValid(), "endpoint without an address")
		list = append(list, a)
	}
	return list
}

func appendPrekey(dst []byte, p Prekey) []byte {
	return append(AppendUint64(dst, p.Number), p.Public[:]...)
}

func (r *Reader) prekey() Prekey {
	p := Prekey{Number: r.Uint64()}
	r.Fill(p.Public[:])
	r.check(p.Number != 0, "prekey number is 0")
	return p
}

func (r *Reader) presence() Presence {
	p := Presence(r.Uint8())
	r.check(p <= PresenceBusy, "presence")
	return p
}
