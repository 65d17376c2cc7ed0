"""Feeds: read, deliver, rebuild, warm. Owns every key in Redis, and one table.

| module | owns | does |
|---|---|---|
| reading | | a page of a feed |
| service | `stats:given_up` | deliver, rebuild |
| merging | | a page where authors are pulled |
| pulling | `pulled_authors` | which authors are pulled, and how they become it |
| authored | `authored:*` | the lists of pulled authors |
| warming | `warm:*` | all feeds, through the broker |
| timeline | `feed:*` | a feed's list and lease |
| bodies | `post:*` | posts as JSON |
| watch | `server:*` | notices a Redis that is new, or went back in time; the start-up hook |
| authors | `author:*` | names beside posts |
| census, stats | `stats:*` | all feeds together, counted; what the last verify-feeds found |
| verify, explain | | prove that feeds are what SQL says; say why a post is in a feed |
| truth, replica | | what SQL says a feed is; whether a replica may say it |
| follows | | who follows whom, and whom an author's posts go to |
"""
