package wire

import (
	"bytes"
	"strings"
)

// sessionCodec is the codec of all messages of session signalling.
func sessionCodec() codec {
	message := func(name string, m SessionMessage) sample { return sample{name, &m} }
	return byValue("session", AppendSession, ParseSession,
		message("request_least", SessionRequest{Session: 1, Lane: 1, Streams: 1, Service: "x"}),
		message("request_usual", SessionRequest{Session: 7, Lane: 12, Streams: DefaultStreams, Service: "game/1", Metadata: []byte("level 3")}),
		message("request_largest", SessionRequest{
			Session: MaxVarint, Lane: MaxVarint, Streams: MaxStreams,
			Service: strings.Repeat("€", MaxService/3), Metadata: bytes.Repeat([]byte{'m'}, MaxMetadata),
		}),
		message("accept_usual", SessionAccept{Session: 7, Streams: 64}),
		message("refuse_least", SessionRefuse{Session: 7}),
		message("refuse_longest", SessionRefuse{Session: 7, Reason: strings.Repeat("ü", MaxReason/2)}),
		message("end_closed", SessionEnd{Session: 7}),
		message("end_aborted", SessionEnd{Session: 7, Cause: SessionAborted, Code: MaxVarint, Reason: "out of cheese"}),
		message("end_withdrawn", SessionEnd{Session: 7, Cause: SessionWithdrawn}),
		message("flowopen_usual", SessionFlowOpen{Session: 7, Flow: 1}),
		message("flowclose_finished", SessionFlowClose{Session: 7, Flow: 1, Sent: 1000}),
		message("flowclose_refused", SessionFlowClose{Session: 7, Flow: 1, Cause: FlowRefused}),
		message("bulk_usual", SessionBulk{Session: 7, Lane: 14}),
		message("bulkrefuse_usual", SessionBulkRefuse{Session: 7, Lane: 14}),
	)
}
