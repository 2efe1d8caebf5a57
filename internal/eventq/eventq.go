// Package eventq hands events to readers that may be slow, without ever
// holding up who reports them and within bounded memory.
//
// A [Queue] has one reader. A [Hub] publishes to any number of queues.
//
// # What a reader gets
//
// First the snapshot given to Restart, in its order, then what was pushed after
// it, in the order of the pushes, with two exceptions:
//
//   - Coalescing. An element with a key replaces an unread one with the same
//     key; it stands where it was pushed itself, at the end. So a reader can
//     miss that something was so for a while, but never reads a later state
//     before an earlier event, and the newest state of each key always comes.
//     The snapshot does not take part: it is read whole.
//   - Lag. When an element finds the queue full, everything unread is thrown
//     away, that of the snapshot too. The reader gets a mark with the number
//     of elements lost, then a fresh snapshot, then what was pushed after that.
//     Nothing is read twice, and nothing older than a mark comes after it.
//
// All queues of a hub see the same order.
//
// # Memory
//
// A queue holds at most its limit of pushed elements, and the unread rest of
// one snapshot, until it is read, closed and read to its end, or discarded.
package eventq

import "errors"

// ErrClosed is what Next returns at the end of a queue that was closed without
// an error.
var ErrClosed = errors.New("event queue is closed")
