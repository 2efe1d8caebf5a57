package decoder

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Commands of smux.
const (
	smuxSyn = 0
	smuxFin = 1
	smuxPsh = 2
	smuxNop = 3
	smuxUpd = 4

	smuxVersion = 2
	smuxHeader  = 8
)

// Stream is a reliable stream; Written is what each direction of the link has of it.
type Stream struct {
	Opener  byte
	Written [2][]byte
	Ended   [2]bool // by FIN
	Credit  [2]int  // how often an end gave credit
}

// smuxFrame is one frame of a session's lane.
type smuxFrame struct {
	command uint8
	stream  uint32
	body    Hex
}

// little is a little-endian integer of n bytes.
func (r *reader) little(n uint64) uint32 {
	var wide [4]byte
	copy(wide[:], r.take(n))
	return binary.LittleEndian.Uint32(wide[:])
}

// readSmux reads the frames of one direction of a lane. Where the lane may end
// inside of a frame, because it was reset, what is left is not looked at.
func readSmux(b []byte, cut bool) ([]smuxFrame, error) {
	var frames []smuxFrame
	r := &reader{bytes: b}
	for r.left() > 0 {
		if cut && r.left() < smuxHeader {
			break
		}
		r.must(r.u8() == smuxVersion)
		f := smuxFrame{command: r.u8()}
		size := uint64(r.little(2))
		f.stream = r.little(4)
		switch f.command {
		case smuxSyn, smuxFin:
			r.must(size == 0 && f.stream != 0)
		case smuxNop:
			r.must(size == 0 && f.stream == 0)
		case smuxUpd:
			r.must(size == 8 && f.stream != 0)
		case smuxPsh:
			r.must(f.stream != 0)
		default:
			r.fail(Kind)
		}
		if cut && r.err == nil && r.left() < size {
			break
		}
		f.body = r.take(size)
		if r.err != nil {
			return nil, r.err
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// readStreams follows the streams of a session's lane; asker is the direction
// that sent REQUEST. Both directions are read one behind the other, so that
// credit is only held to what was given in all.
func readStreams(frames [2][]smuxFrame, asker byte) (map[uint32]*Stream, error) {
	streams := make(map[uint32]*Stream)
	for d := range byte(2) {
		next := uint32(2)
		if d == asker {
			next = 3
		}
		for _, f := range frames[d] {
			if f.command == smuxSyn {
				if f.stream != next {
					return nil, fmt.Errorf("stream %d opened, not %d", f.stream, next)
				}
				streams[f.stream] = &Stream{Opener: d}
				next += 2
			}
		}
	}
	for d := range byte(2) {
		known := make(map[uint32]bool) // streams of d's own whose SYN has been
		for _, f := range frames[d] {
			s := streams[f.stream]
			switch {
			case f.command == smuxNop:
				continue
			case f.command == smuxSyn:
				known[f.stream] = true
				continue
			case s == nil || s.Opener == d && !known[f.stream]:
				return nil, fmt.Errorf("stream %d was never opened", f.stream)
			}
			switch f.command {
			case smuxFin:
				if s.Ended[d] {
					return nil, fmt.Errorf("stream %d ended twice", f.stream)
				}
				s.Ended[d] = true
			case smuxPsh:
				if s.Ended[d] {
					return nil, fmt.Errorf("stream %d goes on behind its FIN", f.stream)
				}
				s.Written[d] = slices.Concat(s.Written[d], f.body)
			case smuxUpd:
				s.Credit[d]++
			}
		}
	}
	return streams, checkCredit(frames, streams)
}

// checkCredit refuses UPD of more than was written to a stream.
func checkCredit(frames [2][]smuxFrame, streams map[uint32]*Stream) error {
	for d := range byte(2) {
		for _, f := range frames[d] {
			if f.command != smuxUpd {
				continue
			}
			consumed, window := binary.LittleEndian.Uint32(f.body), binary.LittleEndian.Uint32(f.body[4:])
			if window == 0 {
				if consumed > 1 {
					return fmt.Errorf("stream %d closed for reason %d", f.stream, consumed)
				}
			} else if uint64(consumed) > uint64(len(streams[f.stream].Written[1-d])) {
				return fmt.Errorf("stream %d: credit for %d bytes that were never written", f.stream, consumed)
			}
		}
	}
	return nil
}
