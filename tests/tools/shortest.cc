/* SPDX-License-Identifier: MIT
 * base/digits against the C++ library, which has its own algorithm for the shortest digits (Ryu):
 *     shortest floats STEP        every STEP'th float there is, from a random one on
 *     shortest doubles COUNT      so many random doubles
 * SEED in the environment repeats a run. Ends with 1 at the first that differs. */
#include <charconv>
#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

extern "C" {
#include "base/digits.h"
}

/* "12.5e+03" and "12500.0" as "125e4": the digits, and where the first one stands. */
static std::string canonical(const char *at, size_t count)
{
    std::string digits;
    int exponent = 0, point = -1;
    bool minus = false;
    for (size_t i = 0; i < count; i++) {
        if (at[i] == 'e') {
            exponent = std::atoi(std::string(at + i + 1, count - i - 1).c_str());
            break;
        }
        if (at[i] == '.')
            point = static_cast<int>(digits.size());
        else if (at[i] == '-')
            minus = true;
        else
            digits += at[i];
    }
    if (point < 0)
        point = static_cast<int>(digits.size());
    size_t zeros = digits.find_first_not_of('0');
    zeros = zeros == std::string::npos ? digits.size() : zeros;
    exponent += point - static_cast<int>(zeros);
    digits.erase(0, zeros);
    while (!digits.empty() && digits.back() == '0')
        digits.pop_back();
    return (minus ? "-" : "") + digits + "e" + (digits.empty() ? "0" : std::to_string(exponent));
}

template <typename Real> static bool agree(Real value, size_t (*write)(char *, Real))
{
    char ours[DIGITS_BYTES_MAX], theirs[64];
    if (!std::isfinite(value))
        return true;
    size_t bytes = write(ours, value);
    auto end = std::to_chars(theirs, theirs + sizeof(theirs), value, std::chars_format::scientific);
    size_t other = static_cast<size_t>(end.ptr - theirs);
    if (canonical(ours, bytes) == canonical(theirs, other))
        return true;
    std::printf("%.*s, where the C++ library has %.*s\n", static_cast<int>(bytes), ours,
                static_cast<int>(other), theirs);
    return false;
}

int main(int argc, char **argv)
{
    const char *given = std::getenv("SEED");
    uint64_t random = given != nullptr ? std::strtoull(given, nullptr, 10)
                                       : static_cast<uint64_t>(std::time(nullptr)) * 2 + 1;
    if (argc != 3)
        return 2;
    uint64_t number = std::strtoull(argv[2], nullptr, 10);
    std::printf("seed %" PRIu64 "\n", random);
    bool floats = std::strcmp(argv[1], "floats") == 0;
    uint64_t at = floats ? random % number : 0;
    for (uint64_t end = floats ? 1ull << 32 : number; at < end; at += floats ? number : 1) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint32_t narrow = static_cast<uint32_t>(at);
        float single;
        double real;
        std::memcpy(&single, &narrow, sizeof(single));
        std::memcpy(&real, &random, sizeof(real));
        if (floats ? !agree(single, digits_float) : !agree(real, digits_double))
            return 1;
    }
    return 0;
}
