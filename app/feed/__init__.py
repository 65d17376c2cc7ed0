"""Home feeds: read, deliver, rebuild, maintain. Owns all Redis keys except those of users, tokens and rate limits.

| module | owns | does |
|---|---|---|
| routes, schemas | | GET /post/feed, GET /post/feed/unread, PUT /post/feed/seen |
| read, unread | | reads a page of a feed; counts what is newer than a post |
| deliver, rebuild | | push and remove posts; rebuild a feed from SQL |
| suspend, erase | | evict what a suspension changes; take all of a user who is gone |
| invalidate | `stats:given_up` | invalidates feeds after a permanently failed message |
| store | | queries: what a feed contains |
| cache.timeline | `feed:*`, `authored:*` | lists and leases of home feeds and pulled authors |
| cache.owed_checks | `owed:*` | which writes to feeds are still to be checked |
| cache.claims | `claim:*` | which message will rebuild a feed |
| cache.post_bodies | `post:*` | posts as JSON |
| cache.author_names | | adds names for `expand=author` |
| hybrid.policy, hybrid.merge | | which authors are pulled, and pages merged from their lists |
| maintenance.warm | `warm:*` | builds cold feeds through the broker |
| maintenance.trust | `server:*` | says which servers can be trusted, after a failover of Redis or SQL |
| maintenance.failover | | drops the feeds of those that cannot; the start-up hook |
| maintenance.counts, verify_results | `stats:*` | feed counts, and the last verify-feeds |
| maintenance.verify, explain | | prove that feeds match SQL; explain one post |
| maintenance.show_user | | shows a user |
"""
