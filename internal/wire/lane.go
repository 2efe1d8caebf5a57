package wire

import "fmt"

// What both ends of a link begin with, before the first window frames.
const (
	InitialLaneWindow = 512 << 10 // bytes of each lane and direction
	InitialLinkWindow = 1 << 20   // bytes of all lanes together, of each direction
	InitialLanes      = 128       // lanes that each end may have opened
)

// MaxLanes is the highest credit that a LANES frame gives.
const MaxLanes = 1 << 60

// LaneWindow raises how far a lane may be written.
type LaneWindow struct {
	Lane uint64 // up to MaxVarint
	Max  uint64 // offset below which bytes may be sent, up to MaxVarint
}

// Reset ends what its writer sends on a lane, without the bytes that have not
// arrived yet.
type Reset struct {
	Lane uint64 // up to MaxVarint
	Code uint64 // up to MaxVarint
	Size uint64 // final size: how many bytes were ever sent, up to MaxVarint
}

// Stop asks the other end to reset what it sends on a lane.
type Stop struct {
	Lane uint64 // up to MaxVarint
	Code uint64 // up to MaxVarint
}

// AppendLinkWindow appends a LINK_WINDOW frame: kind ‖ max, the bytes of all
// lanes together that may be sent in all.
func AppendLinkWindow(dst []byte, limit uint64) []byte {
	return AppendVarint(append(dst, byte(FrameLinkWindow)), limit)
}

// ParseLinkWindow takes a LINK_WINDOW frame off the front of b.
func ParseLinkWindow(b []byte) (limit uint64, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameLinkWindow)
	limit = r.Varint()
	return limit, r.rest, r.err
}

// AppendLaneWindow appends a LANE_WINDOW frame: kind ‖ lane ‖ max.
func AppendLaneWindow(dst []byte, w LaneWindow) []byte {
	dst = AppendVarint(append(dst, byte(FrameLaneWindow)), w.Lane)
	return AppendVarint(dst, w.Max)
}

// ParseLaneWindow takes a LANE_WINDOW frame off the front of b.
func ParseLaneWindow(b []byte) (w LaneWindow, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameLaneWindow)
	w = LaneWindow{Lane: r.Varint(), Max: r.Varint()}
	return w, r.rest, r.err
}

// AppendLanes appends a LANES frame: kind ‖ max, how many lanes the reader may
// have opened in all, closed ones counted. It panics if max is above
// [MaxLanes].
func AppendLanes(dst []byte, limit uint64) []byte {
	if limit > MaxLanes {
		panic(fmt.Sprintf("wire: credit for %d lanes", limit))
	}
	return AppendVarint(append(dst, byte(FrameLanes)), limit)
}

// ParseLanes takes a LANES frame off the front of b.
func ParseLanes(b []byte) (limit uint64, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameLanes)
	limit = r.Varint()
	r.check(limit <= MaxLanes, "number of lanes")
	return limit, r.rest, r.err
}

// AppendReset appends a RESET frame: kind ‖ lane ‖ code ‖ size.
func AppendReset(dst []byte, x Reset) []byte {
	dst = AppendVarint(append(dst, byte(FrameReset)), x.Lane)
	dst = AppendVarint(dst, x.Code)
	return AppendVarint(dst, x.Size)
}

// ParseReset takes a RESET frame off the front of b.
func ParseReset(b []byte) (x Reset, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameReset)
	x = Reset{Lane: r.Varint(), Code: r.Varint(), Size: r.Varint()}
	return x, r.rest, r.err
}

// AppendStop appends a STOP frame: kind ‖ lane ‖ code.
func AppendStop(dst []byte, x Stop) []byte {
	dst = AppendVarint(append(dst, byte(FrameStop)), x.Lane)
	return AppendVarint(dst, x.Code)
}

// ParseStop takes a STOP frame off the front of b.
func ParseStop(b []byte) (x Stop, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameStop)
	x = Stop{Lane: r.Varint(), Code: r.Varint()}
	return x, r.rest, r.err
}
