/* What `davit agent update` and the running agent say to each other: a file in the agent's own directory, {"program": PATH}, asks for another
 * davit in its place; AGENT/status.sock (live.h) tells what became of it, as {"program", "state", "why"}. */
#pragma once

#define UPDATE_REQUEST "update.json"
#define UPDATE_WAITING "waiting" /* no further jobs; for those that run */
#define UPDATE_DONE "done"       /* that program runs */
#define UPDATE_FAILED "failed"   /* the former one runs: `why` */
