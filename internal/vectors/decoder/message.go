package decoder

// Kinds of messages of sessions.
const (
	messageRequest    = 0x01
	messageAccept     = 0x02
	messageRefuse     = 0x03
	messageEnd        = 0x04
	messageFlowOpen   = 0x05
	messageFlowClose  = 0x06
	messageBulk       = 0x07
	messageBulkRefuse = 0x08
)

// MessageHead begins all messages of sessions.
type MessageHead struct {
	Message uint8  `json:"message,string"`
	Session uint64 `json:"session,string"`
}

// Ask is a REQUEST.
type Ask struct {
	MessageHead
	Lane     uint64 `json:"lane,string"`
	Streams  uint64 `json:"streams,string"`
	Service  string `json:"service"`
	Metadata Hex    `json:"metadata"`
}

// Accept opens a session.
type Accept struct {
	MessageHead
	Streams uint64 `json:"streams,string"`
}

// Refuse is the other answer.
type Refuse struct {
	MessageHead
	Reason string `json:"reason"`
}

// End says why a session ends.
type End struct {
	MessageHead
	Cause  uint8  `json:"cause,string"`
	Code   uint64 `json:"code,string"`
	Reason string `json:"reason"`
}

// FlowOpen opens a flow.
type FlowOpen struct {
	MessageHead
	Flow uint64 `json:"flow,string"`
}

// FlowClose ends what its sender sends on a flow.
type FlowClose struct {
	MessageHead
	Flow  uint64 `json:"flow,string"`
	Cause uint8  `json:"cause,string"`
	Sent  uint64 `json:"sent,string"`
}

// Bulk is BULK or BULK_REFUSE.
type Bulk struct {
	MessageHead
	Lane uint64 `json:"lane,string"`
}

// named is a number from 1 on.
func (r *reader) named() uint64 {
	n := r.varint()
	r.must(n >= 1)
	return n
}

// streams is the limit of a session.
func (r *reader) streams() uint64 {
	n := r.named()
	r.must(n <= 1024)
	return n
}

func readMessage(r *reader) any {
	h := MessageHead{Message: r.kind(messageBulkRefuse), Session: r.named()}
	switch h.Message {
	case messageRequest:
		m := &Ask{MessageHead: h, Lane: r.named(), Streams: r.streams()}
		n := r.named()
		m.Service = r.name(n, 255, "")
		m.Metadata = r.limited(r.varint(), 8192)
		return m
	case messageAccept:
		return &Accept{MessageHead: h, Streams: r.streams()}
	case messageRefuse:
		return &Refuse{MessageHead: h, Reason: r.text(r.varint(), 255)}
	case messageEnd:
		m := &End{MessageHead: h, Cause: r.enum(4), Code: r.varint()}
		r.must(m.Code == 0 || m.Cause == 1)
		m.Reason = r.text(r.varint(), 255)
		return m
	case messageFlowOpen:
		return &FlowOpen{MessageHead: h, Flow: r.named()}
	case messageFlowClose:
		m := &FlowClose{MessageHead: h, Flow: r.named(), Cause: r.enum(2), Sent: r.varint()}
		r.must(m.Cause != 2 || m.Sent == 0)
		return m
	}
	return &Bulk{MessageHead: h, Lane: r.named()} // BULK or BULK_REFUSE
}
