// Package session opens sessions with a friend over one link, and streams in
// them. A [Peer] holds all sessions of one link; the link's lanes, datagrams
// and control lane come in as the small interfaces [Lane], [Lanes],
// [Datagrams] and [Signal].
//
// A session is asked for, and accepted or refused, by messages on the control
// lane ([wire.SessionMessage]). It has a lane of its own, on which smux,
// version 2, carries its reliable streams:
//
//	version(1) = 2 ‖ command(1) ‖ length(2) ‖ stream(4) ‖ data    little-endian
//
//	0 SYN  opens the stream                  1 FIN  the sender writes no more
//	2 PSH  data                              3 NOP  nothing
//	4 UPD  consumed(4) ‖ window(4)           window 0: the sender does not read any more
//
// Datagram streams ("flows") are opened and closed by messages and carried as
// datagrams of the link; a [StreamOptions.Bulk] stream has a lane of its own.
//
// # Why not xtaci/smux itself
//
// The protocol is that of github.com/xtaci/smux, and the tests run against it.
// The code is not, because what a session must hold cannot be built around
// version 1.5.56:
//
//   - It keeps channels in a process-wide sync.Pool. One that was made in a
//     testing/synctest bubble and is taken outside of it kills the process.
//   - After CloseWrite, the peer's FIN drops what has come and was not read.
//   - A Write that meets its deadline leaves the caller's memory queued: it is
//     sent later, whatever it holds then, and the count returned is wrong. A
//     Read that meets its deadline can lose a window update, and so stall the
//     stream for good.
//   - Its receive loop stops for all streams when buffers or the accept queue
//     are full, and it does not hold a peer to a stream's window.
//   - The peer of a stream that was closed is never told and waits for ever.
//
// # Bounds
//
// What a friend can make this end hold is bounded: 256 requests that wait for an
// answer, 256 lanes that belong to nothing for 5 s, the session's limit of
// streams, a window for each, 256 KiB of datagrams a flow, 16 early datagrams a
// session for 1 s. All memory of all sessions of a node is counted in a
// [Budget]. What breaks the protocol inside a session closes the session; other
// junk is dropped and counted ([Peer.Stats]).
//
// # Concurrency
//
// All exported methods are safe for concurrent use. A session has two
// goroutines, one that reads its lane and one that writes it; a stream has
// none. Locks are taken in this order: Peer.mu, Session.mu, Budget.mu; the
// interfaces of the link may be called with them held, so that they must neither
// block nor call back, but for a lane's Read, Write and Flush.
package session
