// client_overhead.h: what the client of servers itself adds to the times that it takes, found against an echo server in
// this process. Both share the machine, so the truth is no more than this.
#pragma once

#include <string>
#include <vector>

namespace ringbench {

struct ClientOverhead {
  double ttft_s = 0;  // to a first token, the answer of the echo server included; median over streams
  double itl_s = 0;   // to a later token: from when it was sent until it is known; median
  double tok_s = 0;   // tokens a second of all streams, when they come as fast as they can
};

// With so many streams at once; takes a tenth of a second, a few for a thousand streams. Throws Failure(environment) if
// there can be no such server.
ClientOverhead measure_client_overhead(int streams);

// "W-CLIENT: ..." where that is more than a twentieth of a first token after `ttft_s`, or where a server that made
// `tok_s` tokens a second (0: unknown) may have waited for the client.
std::vector<std::string> warnings_of(const ClientOverhead& client, double ttft_s, double tok_s);

}  // namespace ringbench
