// C++ with the host's libstdc++: exceptions across objects, thread_local objects, threads,
// recursive mutexes, timed waits, streams, regex.
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Noisy {
    std::string name;
    explicit Noisy(const char *n) : name(n) {}
    ~Noisy() {
        std::cout << "destroyed " + name + "\n" << std::flush;
    }
};
void thrower(int value);

static Noisy global("global");
thread_local Noisy per_thread("per thread");

int main() {
    try {
        thrower(42);
    } catch (const std::exception &e) {
        std::cout << "caught " << e.what() << std::endl;
    }
    std::recursive_mutex recursive;
    recursive.lock();
    recursive.lock();
    recursive.unlock();
    recursive.unlock();
    std::mutex mutex;
    std::condition_variable condition;
    std::unique_lock<std::mutex> lock(mutex);
    if (condition.wait_for(lock, std::chrono::milliseconds(5)) != std::cv_status::timeout)
        return 1;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; i++)
        threads.emplace_back([] {
            if (per_thread.name.empty())
                std::terminate();
            try {
                throw 5;
            } catch (int) {
            }
        });
    for (auto &thread : threads)
        thread.join();
    std::ostringstream out;
    out << std::hex << 255 << ' ' << 1.5;
    std::cout << out.str() << ' ' << std::regex_match("aab", std::regex("a+b")) << ' '
              << per_thread.name << std::endl;
    return 0;
}
