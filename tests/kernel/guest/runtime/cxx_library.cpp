// Throws through a frame that must be unwound.
#include <iostream>
#include <stdexcept>
#include <string>

struct Local {
    ~Local() {
        std::cout << "unwound" << std::endl;
    }
};

void thrower(int value) {
    Local local;
    throw std::runtime_error("thrown " + std::to_string(value));
}
