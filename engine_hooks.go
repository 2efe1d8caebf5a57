package carrier

import (
	"time"

	"github.com/gocarrier/carrier/internal/store"
)

// hooks are what a node of this package's own tests has in the place of its
// store and its clock. The zero hooks take no place.
type hooks struct {
	store   store.Store // closed by the node as any other
	prekeys *store.Prekeys
	clock   func() time.Time // safe for concurrent use
}

// Now is the node's clock. The timers of the loop, links and the DHT go by the
// machine's.
func (e *engine) Now() time.Time {
	if e.config.hooks.clock != nil {
		return e.config.hooks.clock()
	}
	return time.Now()
}
