package decoder

import "strconv"

// Kinds of frames.
const (
	framePadding    = 0x00
	framePing       = 0x01
	frameAck        = 0x02
	frameClose      = 0x03
	frameLinkWindow = 0x04
	frameLaneWindow = 0x05
	frameLanes      = 0x06
	frameReset      = 0x07
	frameStop       = 0x08
	frameChallenge  = 0x09
	frameResponse   = 0x0A
	frameDatagram   = 0x0B
	frameAsk        = 0x0C
	frameAnswer     = 0x0D
	frameData       = 0x10
	frameDataFin    = 0x11
)

// Frame is one of a packet; Value is a type of this file, or Hex for tokens.
type Frame struct {
	Kind  uint8 `json:"kind,string"`
	Value any   `json:"value"`
}

// Number is a frame that is no more than a number, and of PADDING the length.
type Number uint64

// MarshalText writes the number as docs/vectors does.
func (n Number) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(n), 10), nil }

// Ping has no fields.
type Ping struct{}

// Ack names packets that have arrived, the highest first.
type Ack struct {
	Delay  uint64     `json:"delay,string"`
	Ranges []AckRange `json:"ranges"`
}

// AckRange is packet numbers, both ends among them.
type AckRange struct {
	Low  uint64 `json:"low,string"`
	High uint64 `json:"high,string"`
}

// Close ends the link.
type Close struct {
	Code   uint64 `json:"code,string"`
	Reason string `json:"reason"`
}

// LaneWindow is credit for a lane.
type LaneWindow struct {
	Lane uint64 `json:"lane,string"`
	Max  uint64 `json:"max,string"`
}

// Reset gives up a direction of a lane.
type Reset struct {
	Lane uint64 `json:"lane,string"`
	Code uint64 `json:"code,string"`
	Size uint64 `json:"size,string"`
}

// Stop asks for a Reset.
type Stop struct {
	Lane uint64 `json:"lane,string"`
	Code uint64 `json:"code,string"`
}

// Datagram is one of a flow of a session.
type Datagram struct {
	Session uint64 `json:"session,string"`
	Flow    uint64 `json:"flow,string"`
	Data    Hex    `json:"data"`
}

// Data is bytes of a lane.
type Data struct {
	Lane   uint64 `json:"lane,string"`
	Offset uint64 `json:"offset,string"`
	Fin    bool   `json:"fin"`
	Data   Hex    `json:"data"`
}

// confirms reports whether a frame confirms keys.
func confirms(kind uint8) bool { return kind == frameAsk || kind == frameAnswer }

// readPacket reads the frames of a packet. Where it begins with ASK or ANSWER
// only these two follow: at another frame it stops, and that is not part of it.
func readPacket(r *reader) []Frame {
	var frames []Frame
	for r.err == nil && (len(frames) == 0 || r.left() > 0) {
		if len(frames) > 0 && confirms(frames[0].Kind) && !confirms(r.bytes[r.at]) {
			break
		}
		f := readFrame(r)
		r.must(!confirms(f.Kind) || len(frames) == 0 || confirms(frames[0].Kind))
		frames = append(frames, f)
	}
	return frames
}

func readFrame(r *reader) Frame {
	f := Frame{Kind: r.u8()}
	switch f.Kind {
	case framePadding:
		f.Value = Number(1 + r.zeros())
	case framePing:
		f.Value = Ping{}
	case frameAck:
		f.Value = readAck(r)
	case frameClose:
		f.Value = &Close{Code: r.varint(), Reason: r.text(r.varint(), 255)}
	case frameLinkWindow:
		f.Value = Number(r.varint())
	case frameLaneWindow:
		f.Value = &LaneWindow{Lane: r.varint(), Max: r.varint()}
	case frameLanes:
		n := r.varint()
		r.must(n <= 1<<60)
		f.Value = Number(n)
	case frameReset:
		f.Value = &Reset{Lane: r.varint(), Code: r.varint(), Size: r.varint()}
	case frameStop:
		f.Value = &Stop{Lane: r.varint(), Code: r.varint()}
	case frameChallenge, frameResponse:
		f.Value = r.take(8)
	case frameDatagram:
		f.Value = &Datagram{Session: r.varint(), Flow: r.varint(), Data: r.take(r.varint())}
	case frameAsk, frameAnswer:
		f.Value = r.take(16)
	case frameData, frameDataFin:
		d := &Data{Lane: r.varint(), Offset: r.varint(), Fin: f.Kind == frameDataFin, Data: r.take(r.varint())}
		r.must(d.Offset+uint64(len(d.Data)) < 1<<62)
		f.Value = d
	default:
		r.fail(Kind)
	}
	return f
}

func readAck(r *reader) *Ack {
	high := r.varint()
	a := &Ack{Delay: r.varint()}
	more := r.varint()
	r.must(more < 64)
	for r.err == nil {
		length := r.varint() // less 1, so that it is how far low lies below high
		r.must(length <= high)
		low := high - length
		a.Ranges = append(a.Ranges, AckRange{Low: low, High: high})
		if more == 0 {
			break
		}
		more--
		gap := r.varint()
		r.must(gap <= low && low-gap >= 2)
		high = low - gap - 2
	}
	return a
}
