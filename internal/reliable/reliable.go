// Package reliable carries many independent ordered lanes, and datagrams, over packets that may be lost, late, doubled or
// reordered: loss recovery, congestion control, flow control and scheduling of one link.
//
// A [Machine] is one end of a link. It is stepped: no I/O, no clock, no goroutine. Packets are the plaintext of frames
// (package wire) and have a number that the caller's sealing layer gives; the machine says what to send and when it wants
// to be called:
//
//	probe, err := m.Receive(now, pn, packet)                 // for each packet that came
//	for { ev, ok := m.Poll(); … }                            // what the program can do now: Read, Write, Open
//	for n := m.NextPacket(now, pn, buf); n > 0; … { pn++ }   // what goes out
//	wait(m.Timeout())                                        // until then, or a packet, or the program acts
//
// # Ownership
//
// A machine and its lanes belong to one goroutine at a time; nothing here locks. Bytes given to Receive, Write and
// SendDatagram are copied, and those in buf are the caller's as soon as NextPacket returns. A packet that NextPacket
// wrote is sent once: what is lost goes again in new packets with new numbers.
//
// # Errors
//
// What can be tried again is told by an event and leaves everything intact: a Write that takes less than it is given
// (Writable), a Read of nothing ([Readable]), [ErrTooManyLanes] (CanOpen). [ErrTooLong], [ErrWriteClosed] and
// [ErrControlLane] refuse one call. A [*LaneError] or [io.EOF] ends one direction of one lane and nothing else.
//
// Receive returns an error only when the machine is dead: a [*PeerError] (the peer broke the protocol) or a
// [*ClosedError] (either end closed). From then on every method answers with that error, [Machine.Err], but what came in
// order can still be read, and NextPacket sends the CLOSE that the peer is owed. What comes from a peer never causes a
// panic, nor memory or work without bound:
//
//	bytes buffered         Config.LinkWindow and Config.LaneWindow of lane 0, in memory at most twice that
//	gaps in lanes          8,192 a lane and 32,768 in all with the default windows (ErrTooManyRanges)
//	lanes                  Config.Lanes open at once
//	numbers received       256 ranges; what is older counts as lost
//	datagrams unread       Config.DatagramQueue
//	lost packets           512 are remembered
//
// # How the parts fit
//
//	packet.go     NextPacket: what goes into a packet, and whether one may leave
//	schedule.go   lane 0, then datagrams and lanes by turns (deficit round robin, weights)
//	outgoing.go   what one end has written on a lane: unsent, in flight, lost, acknowledged
//	control.go    frames other than data: windows, reset, stop, and the fate of any frame
//	sent.go       packets in flight, and lost ones in case they arrive after all
//	recovery.go   ACKs, loss detection and probe timeouts (RFC 9002), rtt.go, reorder.go
//	controller.go congestion control: cubic.go, hystart.go; pacer.go and rate.go beside it
//
//	receive.go    Receive: the frames of a packet
//	incoming.go   what has come on a lane: unread, with gaps
//	flow.go       windows of lanes and of the link, window.go
//	received.go   which numbers came, and when an ACK goes out
//
//	lanes.go, lane.go, datagram.go, event.go, path.go, vital.go, close.go   the program's side
//	ring.go, pool.go, ranges.go, slab.go, trim.go                 memory
//
// Nothing is allocated for a packet in steady state, and nothing is searched in proportion to the lanes.
//
// # What both ends agree on
//
// Windows and lanes begin with [wire.InitialLaneWindow], [wire.InitialLinkWindow] and [wire.InitialLanes]. The link's
// window counts the highest offset of every lane but lane 0, which no other lane can block: it has a window of its own
// only, and goes before all else. An ACK is kept back for [MaxAckDelay] at most. Packets of PATH_CHALLENGE,
// PATH_RESPONSE, ACK, CLOSE and PADDING elicit no ACK; PING elicits one at once.
package reliable
