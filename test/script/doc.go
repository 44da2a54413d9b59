// Package script plays whole-broker tests that are written as conversations with expected output.
//
// A script is a text file: a heading that states the promise and cites the statements it comes from,
// then steps, a line of four hyphens, and what the clients received. A blank line ends the output; more
// steps may follow. Each script runs inside testing/synctest over net.Pipe, so time is fake, and
// after every step the player waits until nothing moves any more: an output without a line is proof
// that nothing arrived. The package encodes and decodes MQTT by itself and knows nothing of the broker
// beyond a Target.
//
// Its nouns are the Script, the Setup that its first lines describe, and the Target that it is played against.
// It is tested against small fakes and against the server of github.com/mochi-mqtt/server/v2.
//
//	# A newer retained message replaces the older. [MQTT5-3.3.1-5]
//	alice publish room/temp 20 retain
//	alice publish room/temp 21 retain
//	bob   subscribe room/+
//	----
//	bob < SUBACK 1 granted 0
//	bob < PUBLISH room/temp 21 retain
//
// # Before the first client
//
//	use v4 v5                  play the script once for each version; the default is v5
//	config max_qos=1           limits by their YAML names, also hide_reasons=true and sys_interval=10s
//	user ann secret group=ops  with any user line a client needs a username and password
//	acl deny publish secret/#  allow or deny; publish, subscribe or receive; optional user=, client=, code=, reason=;
//	                           %c in the filter is the client identifier; the first match wins, without a match it is allowed
//	hook refuse TOPIC code=0x97       refuse what is published to the filter
//	hook change TOPIC payload=x       replace the payload
//	hook panic TOPIC                  panic when something is published to the filter
//	hook lower FILTER qos=0           grant no more than this to subscriptions
//	hook challenge                    the authentication method CHALLENGE: "nonce" is answered with "secret"
//	hook drops | sessions | acks      print what the broker tells observers, as lines of the broker
//	channel jobs filter=jobs/# ack_timeout=5s   a channel, its settings by their YAML names; a name with * is auto_create
//
// # Steps
//
//	alice connect [v3|v4|v5] [clean] [manual] [show] [key=value …]
//
// opens a connection and sends CONNECT; on an open connection it only sends CONNECT. The client identifier is the client's
// name, or id=. Keys: keepalive, username, password, will, will_payload, will_qos, will_retain, any property of
// CONNECT, and any property of the will with will_ in front. With manual the client
// sends no acknowledgement by itself; with show nothing is left out of the output. A client that starts with
// another step is connected with a clean start, without printing its CONNACK. An identifier that the broker
// assigned is printed as #1, #2 … and may be used that way in id=.
//
//	alice publish TOPIC PAYLOAD [qos=1] [retain] [dup] [id=7] [size=N] [property=value …]
//	alice subscribe FILTER [qos=1] [nolocal] [rap] [rh=1] [, FILTER …] [id=7] [subid=4]
//	alice unsubscribe FILTER … [id=7]
//	alice puback 1 [code=0x80]        also pubrec, pubrel and pubcomp
//	alice ping
//	alice disconnect [code=4] [expiry=10]   prints "still open" if the broker does not close the connection
//	alice auth code=0x19 method=CHALLENGE data=x
//	alice open [v4]             a connection without CONNECT
//	alice raw 82 [ 00 01 [ ] s"a/b" 00 ]   bytes in hex; "text"; s"text" with its length in front; 00*9 repeats;
//	                            brackets put the length of what they hold in front, as a variable byte integer
//	alice raw10 …               the same, a byte at a time
//	alice drop                  close the connection without DISCONNECT
//	alice stall / resume        stop and start reading
//	alice cork / uncork         gather packets and send them in one write
//	wait 30s
//	broker restart              an orderly shutdown and a start on the same store; also stop, start
//	broker crash                the store keeps what it had when the process died
//	broker publish TOPIC PAYLOAD [qos=1] [retain]    what a hook publishes
//	broker deliver alice TOPIC PAYLOAD [qos=1] [retain] [subid=1]   what a hook hands to one client
//	broker kick alice [code=0x98]
//	broker channel create NAME filter=FILTER … | delete NAME | pause NAME | resume NAME | empty NAME
//	broker channel stat NAME | peek NAME        prints its figures, or its messages
//	broker channel back NAME [NUMBER …]         puts dead letters back
//	broker recheck              forget kept authorizations; acl lines may stand between steps
//	store hold / release        answer no write until release
//	store full / ok             refuse writes
//
// # Properties
//
// format, expiry, type, response, corr, user=key:value, alias, subid, delay (will), receive_maximum, max_packet, alias_maximum,
// request_problem, request_response, method, data, reason. Before MQTT 5 they are left out.
//
// # Output
//
// One line for each packet, in the order of the steps, then of the clients' names, then of arrival: order between two clients is not
// promised. A success code is not printed, nor are, without show, that there is a reason string and the three
// properties every CONNACK has. Packets that no server may ever send, whatever the script is about, are
// lines with VIOLATION.
package script
