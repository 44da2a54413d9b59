// Package clients tests the broker with the clients that people use: paho.mqtt.golang, paho.golang,
// Eclipse Paho for Python, MQTT.js, mosquitto_pub and mosquitto_sub.
//
// Each library is a flavour: a client interface over it, in this process or in one of its own that is told
// what to do in lines of JSON (testdata). Every scenario runs with every flavour against the broker's
// own binary, started once. Set PENSTOCK_TEST_TCP and PENSTOCK_TEST_WS (host:port) to test
// a broker that runs already, another one's included.
//
// A library that is missing fails the tests where CI=true and skips its flavours elsewhere; "make setup"
// installs them all.
package clients
