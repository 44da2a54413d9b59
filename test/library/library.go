// Package library finds the MQTT libraries of others that tests run against the broker, and says what it means that one is
// missing: a skip on a developer's machine, a failure in CI.
//
// It installs nothing (make setup does) and knows nothing of what the tests do with what it finds. It has no nouns, and is
// tested by the packages below test/ that depend on it.
package library

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Absent ends a test that needs what is not installed.
func Absent(t testing.TB, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing (%v) although CI=true; run make setup", what, err)
	}
	t.Skipf("%s is missing (%v); make setup installs it", what, err)
}

// Python is a Python that has paho-mqtt.
func Python(t testing.TB) (program string) {
	t.Helper()
	var err error
	for _, program = range []string{"python3", "/usr/bin/python3"} { // the second is Debian's, if the first is not
		if err = exec.Command(program, "-c", "import paho.mqtt.client").Run(); err == nil {
			return program
		}
	}
	Absent(t, "python3-paho-mqtt", err)
	return ""
}

// Node is a Node.js, and what in its environment lets it find MQTT.js. The test's package is two folders below the
// repository's.
func Node(t testing.TB) (program, variable string) {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join("..", "..", ".tools", "node", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	program, err = exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "mqtt"))
	}
	if err != nil {
		Absent(t, "MQTT.js", err)
	}
	return program, "NODE_PATH=" + modules
}
