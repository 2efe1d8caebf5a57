package wire

import (
	"bytes"
	"fmt"
	"strings"
)

// A frame is one frame of a packet: its kind and its value.
type frame struct {
	Kind  FrameKind
	Value any
}

// A frameCodec is the codec of one frame, which others may follow.
type frameCodec struct {
	codec
	kinds []FrameKind
	take  func(b []byte) (x any, rest []byte, err error)
}

// frameOf makes the codec of functions that take and give values. The codec's
// parse is for a frame that stands alone.
func frameOf[T any](name string, kind FrameKind, add func([]byte, T) []byte, take func([]byte) (T, []byte, error), samples ...sample) frameCodec {
	alone := func(b []byte) (T, error) {
		x, rest, err := take(b)
		if err == nil && len(rest) > 0 {
			err = ErrTrailing
		}
		return x, err
	}
	return frameCodec{
		codec: byValue(name, add, alone, samples...),
		kinds: []FrameKind{kind},
		take:  func(b []byte) (any, []byte, error) { x, rest, err := take(b); return &x, rest, err },
	}
}

// frames returns the codecs of all frames, with samples of the shortest, a
// usual and the longest numbers.
func frames() []frameCodec {
	data := frameOf("data", FrameData, AppendData, ParseData,
		sample{"least", &Data{Data: []byte{}}},
		sample{"usual", &Data{Lane: 4, Offset: 1 << 20, Data: []byte("hello")}},
		sample{"long", &Data{Lane: 70, Offset: 1 << 14, Data: bytes.Repeat([]byte{'d'}, 64)}},
		sample{"fin", &Data{Lane: 4, Offset: 1<<20 + 5, Fin: true, Data: []byte{}}},
		sample{"last", &Data{Lane: MaxVarint, Offset: MaxVarint - 3, Fin: true, Data: []byte("end")}})
	data.kinds = append(data.kinds, FrameDataFin)
	return []frameCodec{
		frameOf("padding", FramePadding, AppendPadding,
			func(b []byte) (int, []byte, error) { return len(b), nil, ParsePadding(b) },
			sample{"one", ptr(1)}, sample{"forty", ptr(40)}),
		frameOf("ping", FramePing,
			func(dst []byte, _ struct{}) []byte { return AppendPing(dst) },
			func(b []byte) (x struct{}, rest []byte, err error) { rest, err = ParsePing(b); return x, rest, err },
			sample{"one", &struct{}{}}),
		frameOf("ack", FrameAck,
			func(dst []byte, a Ack) []byte { return AppendAck(dst, &a) },
			func(b []byte) (Ack, []byte, error) { return ParseAck(b, nil) },
			sample{"least", &Ack{Ranges: []AckRange{{0, 0}}}},
			sample{"usual", &Ack{Delay: 1234, Ranges: []AckRange{{90, 10000}, {70, 80}, {68, 68}, {0, 66}}}},
			sample{"long", &Ack{Delay: MaxVarint, Ranges: []AckRange{{MaxVarint, MaxVarint}, {0, MaxVarint - 2}}}},
			sample{"full", fullAck()}),
		frameOf("close", FrameClose, AppendClose, ParseClose,
			sample{"least", &Close{}}, sample{"usual", &Close{Code: 3, Reason: "zu spät"}},
			sample{"longest", &Close{Code: MaxVarint, Reason: strings.Repeat("€", MaxCloseReason/3)}}),
		frameOf("linkwindow", FrameLinkWindow, AppendLinkWindow, ParseLinkWindow,
			sample{"usual", ptr(uint64(InitialLinkWindow))}, sample{"most", ptr(uint64(MaxVarint))}),
		frameOf("lanewindow", FrameLaneWindow, AppendLaneWindow, ParseLaneWindow,
			sample{"usual", &LaneWindow{Lane: 3, Max: InitialLaneWindow}}, sample{"most", &LaneWindow{Lane: MaxVarint, Max: MaxVarint}}),
		frameOf("lanes", FrameLanes, AppendLanes, ParseLanes,
			sample{"usual", ptr(uint64(InitialLanes))}, sample{"most", ptr(uint64(MaxLanes))}),
		frameOf("reset", FrameReset, AppendReset, ParseReset,
			sample{"usual", &Reset{Lane: 5, Code: 2, Size: 70000}}, sample{"most", &Reset{Lane: MaxVarint, Code: MaxVarint, Size: MaxVarint}}),
		frameOf("stop", FrameStop, AppendStop, ParseStop,
			sample{"usual", &Stop{Lane: 6, Code: 300}}, sample{"most", &Stop{Lane: MaxVarint, Code: MaxVarint}}),
		frameOf("challenge", FramePathChallenge, AppendPathChallenge, ParsePathChallenge, sample{"usual", &[8]byte{1, 2, 3, 4, 5, 6, 7, 8}}),
		frameOf("response", FramePathResponse, AppendPathResponse, ParsePathResponse, sample{"usual", &[8]byte{1, 2, 3, 4, 5, 6, 7, 8}}),
		frameOf("datagram", FrameDatagram, AppendDatagram, ParseDatagram,
			sample{"least", &Datagram{Data: []byte{}}}, sample{"usual", &Datagram{Session: 2, Flow: 100, Data: []byte("hello")}},
			sample{"most", &Datagram{Session: MaxVarint, Flow: MaxVarint, Data: bytes.Repeat([]byte{'d'}, 64)}}),
		frameOf("ask", FrameAsk, AppendAsk, ParseAsk, sample{"usual", &[16]byte{1, 15: 16}}),
		frameOf("answer", FrameAnswer, AppendAnswer, ParseAnswer, sample{"usual", &[16]byte{1, 15: 16}}),
		data,
	}
}

// packetCodec is the codec of a whole packet of frames.
func packetCodec() codec {
	byKind := map[FrameKind]frameCodec{}
	for _, f := range frames() {
		for _, k := range f.kinds {
			byKind[k] = f
		}
	}
	return byValue("packet",
		func(dst []byte, list []frame) []byte {
			for _, x := range list {
				dst = byKind[x.Kind].append(dst, x.Value)
			}
			return dst
		},
		func(b []byte) (list []frame, err error) {
			for len(b) > 0 {
				kind := FrameKind(b[0])
				f, ok := byKind[kind]
				if !ok {
					return nil, fmt.Errorf("%w: frame 0x%02X", ErrKind, kind)
				}
				var x any
				if x, b, err = f.take(b); err != nil {
					return nil, err
				}
				list = append(list, frame{kind, x})
			}
			return list, nil
		},
		sample{"data", &[]frame{
			{FrameAck, &Ack{Delay: 1234, Ranges: []AckRange{{90, 10000}, {0, 66}}}},
			{FrameLaneWindow, &LaneWindow{Lane: 3, Max: 1 << 20}},
			{FrameData, &Data{Lane: 0, Offset: 70, Data: []byte("control")}},
			{FrameDatagram, &Datagram{Session: 2, Flow: 1, Data: []byte("loose")}},
			{FrameDataFin, &Data{Lane: 2, Offset: 1 << 30, Fin: true, Data: []byte("last")}},
			{FramePing, &struct{}{}},
		}},
		sample{"probe", &[]frame{
			{FramePathChallenge, &[8]byte{1}}, {FramePathResponse, &[8]byte{2}}, {FramePadding, ptr(100)},
		}})
}

// fullAck has as many ranges as there may be.
func fullAck() *Ack {
	a := &Ack{Delay: MaxAckDelay}
	for n := range uint64(MaxAckRanges) {
		a.Ranges = append(a.Ranges, AckRange{Low: 1<<30 - 100*n, High: 1<<30 - 100*n + n})
	}
	return a
}
