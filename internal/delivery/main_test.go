package delivery

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain has the collector run seldom: the schedules keep little, and a fifth
// of their time went into collecting it.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
