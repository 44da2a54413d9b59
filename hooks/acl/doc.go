// Package acl holds the hook that decides what a connected client may publish, subscribe to and receive, by the
// rules of one YAML file:
//
//	# The first rule that matches decides; what no rule matches is denied.
//	groups:            # optional: members of a group, beside those the password file names
//	  ops: [alice, bob]
//	rules:
//	  - {allow: publish,   filter: "devices/%c/#"}
//	  - {allow: subscribe, filter: "devices/%u/#", groups: [ops], clients: ["sensor-*"]}
//	  - {deny: all,        filter: "secret/#", anonymous: true}
//
// A rule is about publishing (wills included), about subscribing (and receiving what is subscribed), or all of it. It
// is for everyone, or for those named: a client must be one of users, in one of groups, or anonymous, where any of
// these is given, and its identifier must match one of clients, where * stands for any text. In a filter %u is
// the client's username, %c its identifier and %% a percent sign. A name that is not the text of exactly
// one level (it is empty, or holds / + #, or would put a $ at the beginning) matches nothing: no
// name can widen a rule.
//
// A subscription is allowed if a rule that allows covers its whole filter, before one that denies does. A rule
// that denies a part of it takes that part out of what is received: each topic is decided again when a
// message is about to be delivered. Shared subscriptions are decided by the filter behind the group's name, and $SYS needs a rule
// like everything else, which # is not.
//
// The package does not decide who a client is; that is hooks/auth's. Its nouns are the rule
// and the pattern (a rule's filter). It is tested with tables, by comparing the ACL with a
// stupid implementation over random rules, and by fuzzing the parser.
package acl
