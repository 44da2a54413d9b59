// Package topic knows topic names and topic filters, and finds what belongs to them.
//
// A name is what a message is published to, a filter what a subscription asks for.
// CheckName and CheckFilter say what is valid, Match, Covers and Overlaps how the two
// relate. An Index finds the values (subscriptions) under every filter that matches a
// name and remembers, as a Plan, what was made of them. A Tree finds the values
// (retained messages) under every name that a filter matches. Both are read without
// locks while they change. Names are compared byte by byte and never normalized
// [MQTT5-4.7.3-4] [MQTT311-4.7.3-4].
//
// The package does no I/O, knows no clock, no packet and no client. It expects
// names and filters that passed their check; what it does with others is harmless but not defined.
//
// It is tested by tables named after the statements, by comparing Index and Tree with
// Match over random names and filters, Covers and Overlaps with enumeration, and by
// readers and writers racing for what Add and Remove promise.
package topic
