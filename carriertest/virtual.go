package carriertest

import (
	"testing"
	"testing/synctest"
)

// Virtual runs a test in virtual time, in a testing/synctest bubble, with a
// network of its own: time.Sleep takes no time, and a goroutine that is left
// behind fails the test. Subtests and parallel tests are outside; what is used
// inside must be made inside.
func Virtual(t *testing.T, opts *Options, test func(t *testing.T, n *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		test(t, NewNetwork(t, opts))
	})
}
