// Package wire encodes and decodes what carrier nodes exchange: records, which
// travel in envelopes and DHT slots, and frames, which fill the data packets
// of a link. It gives rooms with durable rows the tools to encode theirs
// ([Reader] and the Append functions). It keeps no state, so that all of it
// may be used from any goroutine.
//
// Every encoding is canonical: what a Parse function accepts, the Append
// function of the same name gives back byte by byte. An error says which of
// five reasons there is ([ErrShort] and what stands with it). A value that no
// Parse function would accept is a fault of the program, and an Append
// function that would have to cut it panics.
//
// # Records
//
// Integers are big-endian and of fixed width, times unix milliseconds in 8
// bytes with the top bit clear, variable bytes stand after their length,
// strings are UTF-8, an address is family (4, 6 or 0 for none) ‖ IP ‖ port.
// Bytes that follow the end of a record are an error.
//
// From the outside in, format 1:
//
//	envelope datagram   0xC8 ‖ tag(8) ‖ sealed plaintext
//	DHT slot value      sealed plaintext
//	request value       plaintext sealed to the target's identity
//	plaintext           kind(1) ‖ length(2) ‖ body ‖ zeros up to a fixed size
//	body of mail        prekey number(8) ‖ signature(64) and record, sealed to the prekey
//	body of the others  signature(64) ‖ record
//	record              format(1) ‖ fields
//
// Each record begins with its format. A later format may lay the rest out
// anew or append to it; it goes only to readers whose state record says that
// they speak it, and readers drop what they do not speak ([ErrFormat]). What
// is nested in a record (receipt, window, item) has the record's format.
//
// # Frames
//
// The plaintext of a data packet is frames, one behind the other. A frame
// begins with its kind, one byte. Integers are varints (RFC 9000, section 16)
// in their shortest form, tokens opaque bytes:
//
//	0x00 PADDING         zeros to the packet's end
//	0x01 PING
//	0x02 ACK             highest ‖ delay, µs ‖ ranges − 1 ‖ length − 1 ‖ (gap − 1 ‖ length − 1)…
//	0x03 CLOSE           code ‖ length ‖ reason
//	0x04 LINK_WINDOW     max
//	0x05 LANE_WINDOW     lane ‖ max
//	0x06 LANES           max
//	0x07 RESET           lane ‖ code ‖ final size
//	0x08 STOP            lane ‖ code
//	0x09 PATH_CHALLENGE  token(8)
//	0x0A PATH_RESPONSE   token(8)
//	0x0B DATAGRAM        session ‖ flow ‖ length ‖ data
//	0x0C ASK             token(16)
//	0x0D ANSWER          token(16)
//	0x10 DATA            lane ‖ offset ‖ length ‖ data
//	0x11 DATA, FIN       the same, up to the lane's end
//
// The functions that parse frames take bytes that begin with the kind and
// return what follows the frame. They allocate nothing but the text of a
// CLOSE, and errors; what they return beside an error has no meaning.
package wire

// Format is the format of every record and envelope described here; a state
// record carries the highest one that its node speaks.
const Format = 1

// Kind says what the plaintext of an envelope or slot value holds.
type Kind uint8

// The kinds of format 1.
const (
	KindState   Kind = 1
	KindProfile Kind = 2
	KindMail    Kind = 3
	KindReceipt Kind = 4
	KindHello   Kind = 5
	KindRequest Kind = 6
)

// Limits of records, in bytes or elements.
const (
	MaxValue     = 900  // a DHT value, sealed
	MaxDatagram  = 1408 // an envelope datagram
	MaxHello     = 256  // the text of a friend request
	MaxName      = 64
	MaxDescr     = 255
	MaxEndpoints = 8
	MaxSlots     = 8   // mail slots of one direction
	MaxSkipped   = 16  // skipped ranges in a receipt
	MaxItems     = 255 // items of one batch
	MaxOffer     = 320 // an offer of the transport, opaque here
	InFlight     = 1024
	MaxDirect    = 1100 // a message body that goes by one datagram
	MaxMessage   = 64 << 10
)
